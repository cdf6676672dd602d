// A maze as a value: rows of "#" and ".", a start and a goal. Changes return another maze, or the
// same one where nothing changes.

export const same = (a, b) => a[0] === b[0] && a[1] === b[1];

export const height = (maze) => maze.rows.length;
export const width = (maze) => maze.rows[0].length;
export const isWall = (maze, [row, column]) => maze.rows[row][column] === "#";

export const isInside = (maze, [row, column]) =>
  row > 0 && column > 0 && row < height(maze) - 1 && column < width(maze) - 1;

export function withWall(maze, cell, wall) {
  if (!isInside(maze, cell) || isWall(maze, cell) === wall) return maze;
  if (wall && (same(cell, maze.start) || same(cell, maze.goal))) return maze;
  const [row, column] = cell;
  const line = maze.rows[row];
  const rows = [...maze.rows];
  rows[row] = line.slice(0, column) + (wall ? "#" : ".") + line.slice(column + 1);
  return { ...maze, rows };
}

// Start or goal at a cell, which becomes free; where the other one is, they change places.
export function withRole(maze, role, cell) {
  if (!isInside(maze, cell) || same(cell, maze[role])) return maze;
  const other = role === "start" ? "goal" : "start";
  const moved = { ...withWall(maze, cell, false), [role]: cell };
  if (same(cell, maze[other])) moved[other] = maze[role];
  return moved;
}

// What a request says of it.
export function asked(maze) {
  const { rows, start, goal } = maze;
  return maze.direction === undefined
    ? { rows, start, goal }
    : { rows, start, goal, direction: maze.direction };
}
