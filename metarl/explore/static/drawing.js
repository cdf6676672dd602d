// Pictures of a maze, in the colours of the package's films.

import { height, isWall, width } from "./maze.js";

export const COLOURS = {
  floor: "#f7f4ee",
  grid: "#ece7de",
  wall: "#3e4a61",
  edge: "#303a4e",
  agent: "#2c7bb6",
  goal: "#f4b23e",
  tile: "#fdeac4",
  unseen: "#c9c7c2",
};

const TRAIL_LENGTH = 60; // steps after which a trail has faded to its faintest

// A canvas as sharp as the screen; returns its pen, in CSS pixels. Drawn on again, it is empty.
export function pen(canvas, wide, high) {
  const scale = Math.min(window.devicePixelRatio || 1, 3);
  const [w, h] = [Math.round(wide * scale), Math.round(high * scale)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const context = canvas.getContext("2d");
  context.setTransform(w / wide, 0, 0, h / high, 0, 0);
  context.clearRect(0, 0, wide, high);
  return context;
}

// A colour between two, as films have it.
function blend(below, above, strength) {
  const parts = [1, 3, 5].map((at) => {
    const [b, a] = [below, above].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(b + strength * (a - b));
  });
  return `rgb(${parts.join(" ")})`;
}

const middle = ([row, column], unit) => [(column + 0.5) * unit, (row + 0.5) * unit];

// Floor and walls.
export function drawWalls(context, maze, unit) {
  context.fillStyle = COLOURS.floor;
  context.fillRect(0, 0, width(maze) * unit, height(maze) * unit);
  for (let row = 0; row < height(maze); row++) {
    for (let column = 0; column < width(maze); column++) {
      const [x, y] = [column * unit, row * unit];
      if (!isWall(maze, [row, column])) {
        context.strokeStyle = COLOURS.grid;
        context.lineWidth = 1;
        context.strokeRect(x + 0.5, y + 0.5, unit - 1, unit - 1);
        continue;
      }
      context.fillStyle = COLOURS.wall;
      context.fillRect(x, y, unit + 0.5, unit + 0.5);
      if (row + 1 < height(maze) && !isWall(maze, [row + 1, column])) {
        context.fillStyle = COLOURS.edge; // a darker foot gives the walls some height
        context.fillRect(x, y + 0.86 * unit, unit + 0.5, 0.14 * unit);
      }
    }
  }
}

export function drawStart(context, cell, unit) {
  const [x, y] = middle(cell, unit);
  context.strokeStyle = COLOURS.agent;
  context.lineWidth = Math.max(1.5, 0.07 * unit);
  context.globalAlpha = 0.55;
  context.beginPath();
  context.arc(x, y, 0.3 * unit, 0, 2 * Math.PI);
  context.stroke();
  context.globalAlpha = 1;
}

export function drawTile(context, cell, unit) {
  context.fillStyle = COLOURS.tile;
  context.beginPath();
  const [left, top, side] = [cell[1] * unit, cell[0] * unit, 0.88 * unit];
  context.roundRect(left + 0.06 * unit, top + 0.06 * unit, side, side, 0.22 * unit);
  context.fill();
}

export function drawStar(context, cell, unit, size = 1) {
  const [x, y] = middle(cell, unit);
  context.fillStyle = COLOURS.goal;
  context.beginPath();
  for (let k = 0; k < 10; k++) {
    const radius = (k % 2 ? 0.16 : 0.36) * unit * size;
    const angle = (k * Math.PI) / 5;
    context.lineTo(x + radius * Math.sin(angle), y - radius * Math.cos(angle));
  }
  context.closePath();
  context.fill();
}

// A band from cell to cell, fainter the older; jumps are not joined.
export function drawTrail(context, trail, unit) {
  const half = 0.11 * unit;
  for (let n = 1; n < trail.length; n++) {
    const [[r0, c0], [r1, c1]] = [trail[n - 1], trail[n]];
    if (Math.abs(r0 - r1) + Math.abs(c0 - c1) > 1) continue;
    const age = trail.length - n;
    const strength = 0.15 + 0.6 * Math.max(0, 1 - age / TRAIL_LENGTH);
    context.fillStyle = blend(COLOURS.floor, COLOURS.agent, strength);
    const [[x0, y0], [x1, y1]] = [middle(trail[n - 1], unit), middle(trail[n], unit)];
    context.beginPath();
    context.roundRect(
      Math.min(x0, x1) - half,
      Math.min(y0, y1) - half,
      Math.abs(x0 - x1) + 2 * half,
      Math.abs(y0 - y1) + 2 * half,
      half,
    );
    context.fill();
  }
}

// The agent: a ball, or an arrowhead where it looks somewhere.
export function drawAgent(context, cell, unit, facing = null) {
  const [x, y] = middle(cell, unit);
  const layers = facing === null ? [0.36, 0.3] : [0.46, 0.37];
  layers.forEach((size, n) => {
    context.fillStyle = n ? COLOURS.agent : "#ffffff";
    context.beginPath();
    if (facing === null) {
      context.arc(x, y, size * unit, 0, 2 * Math.PI);
    } else {
      for (const turn of [0, 0.75 * Math.PI, 1.25 * Math.PI]) {
        const angle = (Math.PI / 2) * facing + turn;
        context.lineTo(x + size * unit * Math.cos(angle), y + size * unit * Math.sin(angle));
      }
      context.closePath();
    }
    context.fill();
  });
  if (facing === null) {
    context.fillStyle = "#ffffff88";
    context.beginPath();
    context.arc(x - 0.1 * unit, y - 0.1 * unit, 0.09 * unit, 0, 2 * Math.PI);
    context.fill();
  }
}

// A frame around the cells that an agent sees.
export function drawSight(context, [row, column], side, facing, unit) {
  const half = (side - 1) / 2;
  let [top, left] = [row - half, column - half];
  if (facing !== null) {
    const ahead = [[half, 0], [0, half], [half, side - 1], [side - 1, half]][facing];
    [top, left] = [row - ahead[0], column - ahead[1]];
  }
  context.strokeStyle = COLOURS.agent;
  context.globalAlpha = 0.45;
  context.lineWidth = Math.max(1.5, 0.06 * unit);
  context.setLineDash([0.2 * unit, 0.14 * unit]);
  context.beginPath();
  context.roundRect(left * unit, top * unit, side * unit, side * unit, 0.2 * unit);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

export function drawCursor(context, [row, column], unit) {
  context.strokeStyle = "#d7301f";
  context.lineWidth = Math.max(2, 0.09 * unit);
  context.strokeRect(column * unit + 1.5, row * unit + 1.5, unit - 3, unit - 3);
}

// What an agent sees: a square of cells, the agent in its middle, or below it where it looks ahead.
export function drawView(canvas, text, side, turning) {
  const size = 96;
  const context = pen(canvas, size, size);
  const unit = size / side;
  [...text].forEach((mark, n) => {
    const [x, y] = [(n % side) * unit, Math.floor(n / side) * unit];
    context.fillStyle =
      mark === "#" ? COLOURS.wall : mark === "." ? COLOURS.floor : COLOURS.unseen;
    context.fillRect(x, y, unit + 0.5, unit + 0.5);
    if (mark !== ".") return;
    context.strokeStyle = COLOURS.grid;
    context.lineWidth = 1;
    context.strokeRect(x + 0.5, y + 0.5, unit - 1, unit - 1);
  });
  const half = (side - 1) / 2;
  drawAgent(context, turning ? [side - 1, half] : [half, half], unit, turning ? 3 : null);
}
