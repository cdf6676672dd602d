// Pictures over the time of a trial: finds beside others, value, memory.

import { pen } from "./drawing.js";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Others in a maze: names of the server's, and the colours of their lines.
export const OTHERS = { floor: "--floor-line", explorer: "--explorer-line", oracle: "--oracle-line" };

function size(canvas, high) {
  const wide = Math.max(canvas.clientWidth || 0, 120);
  return [wide, high];
}

function drawLine(context, values, x, y, colour, thick) {
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((value, n) => context.lineTo(x(n), y(value)));
  context.stroke();
}

function drawNow(context, x, high) {
  context.strokeStyle = style("--text");
  context.globalAlpha = 0.5;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, high);
  context.stroke();
  context.globalAlpha = 1;
}

// Finds up to each step: of the agent as far as it has come, and of the others to the end.
export function drawFinds(canvas, trial, anchors, now, name) {
  const [wide, high] = size(canvas, 132);
  const context = pen(canvas, wide, high);
  const length = Math.max(trial.num_steps, 1);
  const found = [0];
  trial.rewards.forEach((reward) => found.push(found.at(-1) + (reward > 0 ? 1 : 0)));
  const curves = Object.entries(anchors?.curves || {}).map(([name, curve]) => [
    name,
    [0, ...curve.map((value) => value / anchors.reward)],
  ]);
  const most = Math.max(1, found.at(-1), ...curves.map(([, curve]) => curve.at(-1)));
  const [left, right, top, bottom] = [26, 58, 8, 18];
  const x = (n) => left + ((wide - left - right) * n) / length;
  const y = (value) => high - bottom - ((high - top - bottom) * value) / most;
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = style("--muted");
  context.strokeStyle = style("--line");
  context.lineWidth = 1;
  for (const [value, words] of [[0, "0"], [most, most.toFixed(most < 10 ? 1 : 0)]]) {
    context.beginPath();
    context.moveTo(left, y(value));
    context.lineTo(wide - right, y(value));
    context.stroke();
    context.textAlign = "right";
    context.fillText(words, left - 4, y(value) + 4);
  }
  context.textAlign = "center";
  context.fillText(`${length} steps`, x(length) - 20, high - 4);
  const labels = [];
  for (const [name, curve] of curves) {
    drawLine(context, curve, x, y, style(OTHERS[name]), 1.5);
    labels.push([name, y(curve.at(-1)), style(OTHERS[name])]);
  }
  const so_far = found.slice(0, now + 1);
  context.globalAlpha = 0.25;
  drawLine(context, found, x, y, style("--agent-line"), 2);
  context.globalAlpha = 1;
  drawLine(context, so_far, x, y, style("--agent-line"), 2.5);
  labels.push([name, y(found.at(-1)), style("--agent-line")]);
  drawLabels(context, labels, wide - right + 4, high - bottom);
  context.fillStyle = style("--agent-line");
  context.beginPath();
  context.arc(x(Math.min(now, found.length - 1)), y(so_far.at(-1)), 3.5, 0, 2 * Math.PI);
  context.fill();
}

// Words at the ends of lines, moved apart where they would overlap.
function drawLabels(context, labels, x, bottom) {
  context.textAlign = "left";
  labels.sort((a, b) => b[1] - a[1]);
  let above = bottom + 14;
  for (const [words, y, colour] of labels) {
    above = Math.min(y + 4, above - 12);
    context.fillStyle = colour;
    context.fillText(words, x, above);
  }
}

export function drawValue(canvas, values, length, now) {
  const [wide, high] = size(canvas, 46);
  const context = pen(canvas, wide, high);
  const [least, most] = [Math.min(0, ...values), Math.max(1e-6, ...values)];
  const x = (n) => (wide * n) / Math.max(length, 1);
  const y = (value) => high - 3 - ((high - 6) * (value - least)) / (most - least);
  context.globalAlpha = 0.3;
  drawLine(context, values, x, y, style("--agent-line"), 1.5);
  context.globalAlpha = 1;
  drawLine(context, values.slice(0, now + 1), x, y, style("--agent-line"), 1.5);
  drawNow(context, x(now), high);
}

// Memory: a column per step, a line per unit; blue below 0, orange above.
export function drawStrip(canvas, picture, length, now) {
  const [wide, high] = size(canvas, 112);
  const context = pen(canvas, wide, high);
  context.imageSmoothingEnabled = picture.width > wide;
  const shown = (wide * picture.width) / Math.max(length, 1);
  context.drawImage(picture, 0, 0, shown, high);
  const x = (wide * now) / Math.max(length, 1);
  context.fillStyle = style("--card");
  context.globalAlpha = 0.7;
  context.fillRect(x, 0, wide - x, high);
  context.globalAlpha = 1;
  drawNow(context, Math.min(x, wide - 0.5), high);
}

// The picture of a memory, from the server's bytes: 128 is 0.
export function stripPicture(hidden) {
  const bytes = Uint8Array.from(atob(hidden.pixels), (mark) => mark.charCodeAt(0));
  const [units, steps] = [hidden.units, bytes.length / hidden.units];
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [Math.max(steps, 1), units];
  const context = picture.getContext("2d");
  const none = matchMedia("(prefers-color-scheme: dark)").matches ? [38, 46, 58] : [247, 247, 247];
  const image = context.createImageData(picture.width, units);
  for (let step = 0; step < steps; step++) {
    for (let unit = 0; unit < units; unit++) {
      const value = (bytes[step * units + unit] - 128) / 127;
      const towards = value < 0 ? [44, 133, 202] : [236, 130, 34];
      const at = 4 * (unit * picture.width + step);
      const strength = Math.min(Math.abs(value), 1);
      for (let c = 0; c < 3; c++) image.data[at + c] = none[c] + strength * (towards[c] - none[c]);
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return picture;
}
