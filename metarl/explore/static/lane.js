// One player in the maze: its picture of the maze, and what is known of what it does and thinks.

import { drawFinds, drawStrip, drawValue, OTHERS, stripPicture } from "./charts.js";
import * as draw from "./drawing.js";
import { height, same, width } from "./maze.js";

const GLYPHS = { up: "↑", down: "↓", left: "←", right: "→", "turn left": "↺", "turn right": "↻", ahead: "↑" };
const MOST_UNIT = 48; // pixels of a cell

export class Lane {
  constructor(container, role) {
    const copy = document.getElementById("lane").content.cloneNode(true);
    this.element = copy.querySelector(".lane");
    this.element.dataset.role = role;
    container.append(copy);
    this.canvas = this.find("canvas.maze");
    this.player = null; // { name, title }, as the server lists it
    this.byKeys = false;
    this.moves = [];
    this.forget();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  forget() {
    this.trial = this.anchors = this.strip = null;
  }

  // Show another player; its trial comes later.
  setPlayer(player, byKeys) {
    this.player = player;
    this.byKeys = byKeys;
    this.moves = [];
    this.forget();
    this.find("h2").textContent = byKeys ? "You" : player.name;
    this.find(".about").textContent = byKeys
      ? "Arrow keys or W A S D on the maze, or the buttons below it"
      : player.title;
    this.find(".pad").hidden = !byKeys;
    for (const part of [".seen", ".wants", ".think", ".judged"])
      this.element.querySelectorAll(part).forEach((one) => {
        one.hidden = byKeys && (part === ".wants" || part === ".think");
      });
  }

  setTrial(trial) {
    this.trial = trial;
    this.dress();
    const list = this.find(".actions");
    list.replaceChildren();
    (trial.action_names || []).forEach((name) => {
      const row = document.createElement("div");
      row.className = "action";
      row.innerHTML = "<span class='glyph'></span><span class='meter'><i></i></span><span class='share'></span>";
      row.querySelector(".glyph").textContent = GLYPHS[name] || name;
      row.querySelector(".glyph").setAttribute("aria-label", name);
      list.append(row);
    });
  }

  // Paint the memory in the colours that the page has now.
  dress() {
    this.strip = this.trial?.hidden ? stripPicture(this.trial.hidden) : null;
  }

  get length() {
    return this.trial ? this.trial.actions.length : 0;
  }

  // Whether the goal has been found at a step.
  hasFound(step) {
    return Boolean(this.trial?.finds.length) && this.trial.finds[0] <= step;
  }

  // Pictures ---------------------------------------------------------------------------------

  get unit() {
    return this.canvas.clientWidth / (this.columns || 1);
  }

  fit(maze) {
    this.columns = width(maze);
    const room = this.canvas.parentElement.clientWidth;
    const unit = Math.min(room / width(maze), MOST_UNIT);
    const wide = (unit > 8 ? Math.floor(unit) : unit) * width(maze); // whole pixels have no seams
    this.canvas.style.width = `${wide}px`;
    this.canvas.style.height = `${(wide * height(maze)) / width(maze)}px`;
    return wide;
  }

  // The maze at a time, which may be between two steps.
  drawMaze(maze, time, look) {
    const wide = this.fit(maze);
    const unit = wide / width(maze);
    const context = draw.pen(this.canvas, wide, unit * height(maze));
    draw.drawWalls(context, maze, unit);
    draw.drawStart(context, maze.start, unit);
    const step = Math.min(Math.floor(time), this.length);
    const part = step < this.length ? time - step : 0;
    if (look.goal) draw.drawTile(context, maze.goal, unit);
    if (this.trial) {
      const cells = this.trial.cells;
      const from = this.wayBegins(step);
      const trail = cells.slice(from, step + 1);
      let at = cells[step];
      if (part > 0) {
        const to = this.trial.finds.includes(step + 1) ? maze.goal : cells[step + 1];
        const near = Math.abs(to[0] - at[0]) + Math.abs(to[1] - at[1]) <= 1;
        if (near) at = [at[0] + part * (to[0] - at[0]), at[1] + part * (to[1] - at[1])];
      }
      draw.drawTrail(context, trail, unit);
      const facing = this.trial.facing ? this.trial.facing[step] : null;
      if (look.goal) draw.drawStar(context, maze.goal, unit, this.trial.finds.includes(step) ? 1.35 : 1);
      draw.drawSight(context, cells[step], this.trial.view, facing, unit);
      draw.drawAgent(context, at, unit, facing);
    } else {
      if (look.goal) draw.drawStar(context, maze.goal, unit);
      draw.drawAgent(context, maze.start, unit);
    }
    if (look.cursor) draw.drawCursor(context, look.cursor, unit);
  }

  // The step at which the way that leads to this one began: after a find, or a new episode.
  wayBegins(step) {
    const begins = [...this.trial.finds, ...this.trial.begins].filter((one) => one <= step);
    return Math.max(0, ...begins);
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const side = box.width / (this.columns || 1);
    return [Math.floor((event.clientY - box.top) / side), Math.floor((event.clientX - box.left) / side)];
  }

  // Figures ----------------------------------------------------------------------------------

  drawFacts(time) {
    const { trial } = this;
    const facts = this.find(".facts");
    facts.classList.toggle("empty", !trial);
    if (!trial) return;
    const step = Math.min(Math.floor(time), this.length);
    const finds = trial.finds.filter((one) => one <= step);
    const earned = trial.rewards.slice(0, step).reduce((sum, reward) => sum + reward, 0);
    const ways = [0, ...finds];
    this.say("step", `${step} / ${trial.num_steps}`);
    this.say("return", earned.toFixed(Number.isInteger(earned) ? 0 : 2));
    this.say("finds", finds.length);
    this.say("way", finds.length ? `${ways.at(-1) - ways.at(-2)} steps` : "–");
    const turning = trial.facing !== null;
    draw.drawView(this.find("canvas.view"), trial.views[step], trial.view, turning);
    const shares = trial.probabilities?.[step] || null;
    this.element.querySelectorAll(".action").forEach((row, n) => {
      const share = shares ? shares[n] : 0;
      row.querySelector("i").style.setProperty("--share", share);
      row.querySelector(".share").textContent = shares ? `${Math.round(100 * share)} %` : "";
      row.classList.toggle("taken", Boolean(shares) && trial.actions[step] === n);
    });
    if (trial.values) {
      const last = Math.min(step, trial.values.length - 1);
      this.say("value", trial.values[last].toFixed(2));
      const canvas = this.find("canvas.value");
      canvas.setAttribute("aria-label", `Value at step ${step}: ${trial.values[last].toFixed(2)}`);
      drawValue(canvas, trial.values, trial.num_steps, step);
    }
    if (this.strip) {
      const last = Math.min(step, trial.change.length - 1);
      const words = `change ${trial.change[last].toFixed(3)}`;
      this.say("change", words);
      const canvas = this.find("canvas.strip");
      canvas.setAttribute("aria-label", `${trial.hidden.units} hidden units; ${words} at step ${step}`);
      drawStrip(canvas, this.strip, trial.num_steps, step);
    }
    drawFinds(this.find("canvas.curve"), trial, this.anchors, step, this.byKeys ? "you" : "agent");
  }

  say(name, value) {
    this.find(`[data-of="${name}"]`).textContent = String(value);
  }

  // Who else would earn what in this maze, after the whole trial.
  drawTable() {
    const body = this.find("tbody");
    body.replaceChildren();
    if (!this.trial) return;
    const { rewards, reward } = this.trial;
    const earned = rewards.reduce((sum, one) => sum + one, 0);
    const rows = Object.entries(this.anchors?.returns || {});
    const own = [this.byKeys ? "you, so far" : this.player.name, earned];
    const sorted = [...rows.filter(([name]) => name === "floor"), own, ...rows.filter(([name]) => name !== "floor")];
    for (const [name, value] of sorted) {
      const line = body.insertRow();
      line.classList.toggle("own", name === own[0]);
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      if (OTHERS[name]) head.style.setProperty("--mark", `var(${OTHERS[name]})`);
      else head.style.setProperty("--mark", "var(--agent-line)");
      line.append(head);
      for (const number of [value, value / reward]) {
        line.insertCell().textContent = Number.isInteger(number) ? number : number.toFixed(1);
      }
    }
    const label = sorted.map(([name, value]) => `${name} ${(value / reward).toFixed(1)}`).join(", ");
    this.find("canvas.curve").setAttribute("aria-label", `Finds in the whole trial: ${label}`);
  }

  // The label of the maze for those who hear it.
  describe(maze, look) {
    const at = look.cursor;
    const where = at
      ? `Row ${at[0]}, column ${at[1]}: ${
          same(at, maze.start) ? "start" : same(at, maze.goal) ? "goal" : maze.rows[at[0]][at[1]] === "#" ? "wall" : "free"
        }.`
      : "";
    const who = this.byKeys ? "you" : this.player?.name || "";
    this.canvas.setAttribute("aria-label", `Maze ${height(maze)} by ${width(maze)}, ${who}. ${where}`);
  }
}
