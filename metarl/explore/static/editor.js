// Drawing on a maze with pointer, finger or keys. Tells `host` which maze has come of it.
//
// host: maze(), tool(), change(maze), done(); lanes hand their events over.

import { height, isWall, width, withRole, withWall } from "./maze.js";

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const MOST_UNDONE = 100;

export class Editor {
  constructor(host) {
    this.host = host;
    this.cursor = null; // of the keyboard
    this.paints = null; // whether a stroke makes walls; null: there is no stroke
    this.before = [];
    this.last = null;
  }

  // A stroke with a pointer begins, goes on and ends.
  press(lane, event) {
    const tool = this.host.tool();
    if (tool === "look" || event.button > 0) return;
    event.preventDefault();
    const cell = lane.cellAt(event);
    if (!this.holds(cell)) return;
    this.remember();
    lane.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.paints = tool === "wall" ? !isWall(this.host.maze(), cell) : true;
    this.last = cell;
    this.apply(tool, cell);
  }

  move(lane, event) {
    if (this.paints === null) return;
    const cell = lane.cellAt(event);
    for (const between of line(this.last, cell)) {
      if (this.holds(between)) this.apply(this.host.tool(), between);
    }
    this.last = cell;
  }

  release() {
    if (this.paints === null) return;
    this.paints = null;
    this.host.done();
  }

  // A key on a maze; whether it meant anything.
  key(event) {
    const tool = this.host.tool();
    if (tool === "look" || event.ctrlKey || event.metaKey || event.altKey) return false;
    const maze = this.host.maze();
    if (!this.cursor || !this.holds(this.cursor)) this.cursor = [...maze.start];
    if (event.key in ARROWS) {
      const [down, right] = ARROWS[event.key];
      const row = Math.min(Math.max(this.cursor[0] + down, 1), height(maze) - 2);
      const column = Math.min(Math.max(this.cursor[1] + right, 1), width(maze) - 2);
      this.cursor = [row, column];
      this.host.change(maze);
      return true;
    }
    if (event.key === " " || event.key === "Enter") {
      this.remember();
      this.paints = tool === "wall" ? !isWall(maze, this.cursor) : true;
      this.apply(tool, this.cursor);
      this.release();
      return true;
    }
    return false;
  }

  apply(tool, cell) {
    const maze = this.host.maze();
    const after = tool === "wall" ? withWall(maze, cell, this.paints) : withRole(maze, tool, cell);
    if (after !== maze) this.host.change(after);
  }

  remember() {
    this.before.push(this.host.maze());
    if (this.before.length > MOST_UNDONE) this.before.shift();
  }

  undo() {
    const now = this.host.maze();
    let maze = this.before.pop();
    while (maze === now) maze = this.before.pop(); // a stroke that changed nothing
    if (!maze) return;
    this.host.change(maze);
    this.host.done();
  }

  get canUndo() {
    return this.before.some((maze) => maze !== this.host.maze());
  }

  holds([row, column]) {
    const maze = this.host.maze();
    return row >= 0 && column >= 0 && row < height(maze) && column < width(maze);
  }
}

// The cells from one to another, the first left out.
function line([r0, c0], [r1, c1]) {
  const steps = Math.max(Math.abs(r1 - r0), Math.abs(c1 - c0));
  return Array.from({ length: steps }, (_, n) => {
    const part = (n + 1) / steps;
    return [Math.round(r0 + part * (r1 - r0)), Math.round(c0 + part * (c1 - c0))];
  });
}
