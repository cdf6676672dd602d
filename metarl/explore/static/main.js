// The page: what is chosen, what is asked for, and when what is drawn.

import * as api from "./api.js";
import { byId, choose, fillControls, listenToTime, number } from "./controls.js";
import { Editor } from "./editor.js";
import { Lane } from "./lane.js";
import * as link from "./link.js";
import { asked } from "./maze.js";
import { Clock } from "./player.js";
import { HINTS, note, problem, Teller } from "./words.js";

const FIRST = { agent: "mazes13", source: "mst", size: 13, seed: 18 };
const GOES = { ArrowUp: 0, w: 0, ArrowDown: 1, s: 1, ArrowLeft: 2, a: 2, ArrowRight: 3, d: 3 };

const state = { setup: null, maze: null, code: null, playable: false };
const lanes = [];
let asking = null; // ends what was asked before
let mazeQuestion = 0; // the last question about the maze; answers to earlier ones come too late

const clock = new Clock(show);
const teller = new Teller();
const editor = new Editor({
  maze: () => state.maze,
  tool,
  change(maze) {
    if (maze !== state.maze) dropTrials();
    state.maze = maze;
    show();
  },
  done: () => checkMaze({ maze: asked(state.maze) }),
});

// Showing -------------------------------------------------------------------------------------

function tool() {
  return document.querySelector("input[name=tool]:checked").value;
}

function show() {
  if (!state.maze) return;
  const time = clock.shown;
  const step = Math.floor(time);
  const drawing = tool() !== "look";
  const hides = !byId("show-goal").checked && !drawing;
  const found = lanes.some((lane) => lane.hasFound(step));
  const cursor = drawing && lanes.some((l) => l.canvas === document.activeElement) ? editor.cursor : null;
  for (const lane of lanes) {
    const look = { goal: !hides || found, cursor };
    lane.canvas.classList.toggle("drawing", drawing);
    lane.drawMaze(state.maze, time, look);
    lane.drawFacts(time);
    lane.describe(state.maze, look);
  }
  const run = byId("run");
  const words = clock.running ? "Pause" : "Run";
  if (run.textContent !== words) run.textContent = words;
  byId("time").max = String(clock.length);
  byId("time").value = String(step);
  byId("clock").textContent = `${step} / ${clock.length}`;
  for (const id of ["run", "step", "back", "restart", "time"]) byId(id).disabled = !clock.length;
  byId("undo").disabled = !editor.canUndo;
  teller.tell(lanes, step);
}

function hint() {
  const plays = tool() === "look" && lanes.some((lane) => lane.byKeys);
  byId("hint").textContent = HINTS[plays ? "keys" : tool()];
}

// Asking --------------------------------------------------------------------------------------

async function checkMaze(fields, { silent = false } = {}) {
  const question = ++mazeQuestion;
  try {
    const answer = await api.maze(fields);
    if (question !== mazeQuestion) return true;
    if (fields.maze === undefined && state.maze) editor.remember();
    state.maze = answer.maze;
    state.code = answer.maze.code;
    state.playable = !answer.problem;
    problem(answer.problem);
    const walled = answer.walled
      ? `${answer.walled} ${answer.walled === 1 ? "cell" : "cells"} that nobody can reach count as walls.`
      : "";
    note(answer.note || walled);
    await askTrials();
    return true;
  } catch (error) {
    if (question === mazeQuestion && !silent) problem(error.message);
    return false;
  }
}

function dropTrials() {
  asking?.abort();
  byId("stage").removeAttribute("aria-busy");
  clock.pause();
  lanes.forEach((lane) => {
    lane.moves = [];
    lane.forget();
  });
  clock.setLength(0);
}

// What every question about a trial says.
function question(lane) {
  const steps = byId("steps").valueAsNumber;
  return {
    maze: state.code,
    agent: lane.byKeys ? state.setup.keys : lane.player.name,
    ...(byId("rule").value && { rule: byId("rule").value }),
    ...(Number.isFinite(steps) && { steps }),
  };
}

// The rules that somebody by keys plays by are those of the agent beside, where none are chosen.
function sameRules(fields, lane) {
  const other = lanes.find((one) => !one.byKeys && one.trial);
  if (!lane.byKeys || !other) return fields;
  const steps = Math.min(other.trial.num_steps, state.setup.limits.most_steps);
  const rule = state.setup.rules.includes(other.trial.rule) ? other.trial.rule : "start";
  return { rule, steps, ...fields };
}

function askedTrial(lane) {
  const fields = { ...sameRules(question(lane), lane), seed: number("seed") };
  if (lane.byKeys) return { ...fields, moves: lane.moves };
  return { ...fields, greedy: byId("greedy").checked };
}

async function askTrials() {
  dropTrials();
  asking = new AbortController();
  const { signal } = asking;
  writeLink();
  if (!state.playable) return;
  byId("stage").setAttribute("aria-busy", "true");
  try {
    for (const lane of [...lanes].sort((a, b) => a.byKeys - b.byKeys)) {
      const trial = await api.trial(askedTrial(lane), signal);
      if (signal.aborted) return;
      lane.setTrial(trial);
    }
    teller.begin();
    clock.time = 0;
    clock.setLength(Math.max(...lanes.map((lane) => lane.length)));
    problem("");
    for (const lane of lanes) {
      const fields = sameRules(question(lane), lane);
      lane.anchors = await api.anchors(fields, signal);
      if (signal.aborted) return;
      lane.drawTable();
      show();
    }
  } catch (error) {
    if (error.name !== "AbortError") problem(error.message);
  } finally {
    if (!signal.aborted) byId("stage").removeAttribute("aria-busy");
  }
}

// A move of somebody who plays by keys. Moves that come while an answer is awaited go with the next.
async function go(lane, move) {
  if (!lane.trial || lane.moves.length >= lane.trial.num_steps) return;
  lane.moves.push(move);
  if (lane.waits) return;
  lane.waits = true;
  try {
    for (let sent = -1; sent !== lane.moves.length; ) {
      sent = lane.moves.length;
      const moves = lane.moves;
      const trial = await api.trial({ ...askedTrial(lane) });
      if (moves !== lane.moves) return; // another maze, or again
      lane.setTrial(trial);
      lane.drawTable();
      clock.running = false;
      clock.time = trial.actions.length;
      clock.setLength(Math.max(...lanes.map((one) => one.length)));
    }
  } catch (error) {
    lane.moves.pop();
    problem(error.message);
  } finally {
    lane.waits = false;
  }
}

// Choosing ------------------------------------------------------------------------------------

function playerOf(name) {
  const player = state.setup.agents.find((agent) => agent.name === name);
  return player || { name, title: "" };
}

// The lanes of the players that are chosen.
function setPlayers() {
  const chosen = [byId("agent").value, byId("beside").value].filter(Boolean);
  const place = byId("lanes");
  while (lanes.length > chosen.length) lanes.pop().element.remove();
  while (lanes.length < chosen.length) {
    const lane = new Lane(place, lanes.length ? "beside" : "agent");
    lanes.push(lane);
    listen(lane);
  }
  place.classList.toggle("two", chosen.length > 1);
  lanes.forEach((lane, n) => lane.setPlayer(playerOf(chosen[n]), chosen[n] === state.setup.keys));
  hint();
}

function drawMazeFromSource() {
  const source = byId("source").value;
  const seed = number("maze-seed");
  const agent = lanes.find((lane) => !lane.byKeys)?.player.name;
  if (source === "own") {
    if (!agent) {
      problem("You have no test mazes of your own: choose an agent first.");
      return;
    }
    checkMaze({ agent, seed });
    return;
  }
  checkMaze({ source, size: number("size"), seed });
}

async function replayFilm() {
  const agent = lanes.find((lane) => !lane.byKeys)?.player.name;
  if (!agent) {
    problem("There is no film of you: choose an agent first.");
    return;
  }
  byId("rule").value = byId("steps").value = "";
  byId("greedy").checked = false;
  if (await checkMaze({ agent, seed: number("seed") })) clock.run();
}

// Links ---------------------------------------------------------------------------------------

function writeLink() {
  const shown = {
    maze: state.code,
    agent: byId("agent").value,
    beside: byId("beside").value,
    seed: number("seed"),
    rule: byId("rule").value,
    steps: number("steps"),
    greedy: byId("greedy").checked,
  };
  history.replaceState(null, "", link.written(shown));
}

async function readLink() {
  const wanted = link.read(location.hash);
  const troubles = [];
  if (!choose(byId("agent"), wanted.agent || FIRST.agent)) {
    const reason = playerOf(wanted.agent).reason;
    troubles.push(reason || `There is no agent ${wanted.agent} here: metarl explore ${wanted.agent} adds a run.`);
    choose(byId("agent"), FIRST.agent);
  }
  byId("beside").value = "";
  if (!choose(byId("beside"), wanted.beside)) {
    troubles.push(playerOf(wanted.beside).reason || `There is no agent ${wanted.beside} here.`);
  }
  byId("seed").value = String(wanted.seed);
  byId("rule").value = wanted.rule || "";
  byId("steps").value = wanted.steps ? String(wanted.steps) : "";
  byId("greedy").checked = wanted.greedy;
  const { keys } = state.setup;
  byId("show-goal").checked = byId("agent").value !== keys && byId("beside").value !== keys;
  setPlayers();
  if (!wanted.maze || !(await checkMaze({ maze: wanted.maze }))) {
    const said = byId("problem").textContent;
    if (wanted.maze && said) troubles.push(said);
    await checkMaze({ source: FIRST.source, size: FIRST.size, seed: FIRST.seed });
  }
  if (troubles.length) problem(troubles.join(" "));
}

// Listening -----------------------------------------------------------------------------------

function listen(lane) {
  const { canvas } = lane;
  canvas.addEventListener("pointerdown", (event) => editor.press(lane, event));
  canvas.addEventListener("pointermove", (event) => editor.move(lane, event));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => editor.release());
  canvas.addEventListener("focus", show);
  canvas.addEventListener("blur", show);
  canvas.addEventListener("keydown", (event) => {
    if (editor.key(event) || playKey(lane, event)) event.preventDefault();
  });
  lane.find(".pad").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("again" in button.dataset) askTrials();
    else go(lane, Number(button.dataset.move));
  });
}

function playKey(lane, event) {
  if (tool() !== "look" || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (lane.byKeys) {
    const move = GOES[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (move === undefined) return false;
    go(lane, move);
    return true;
  }
  if (event.key === " ") clock.toggle();
  else if (event.key === "ArrowRight") clock.step(1);
  else if (event.key === "ArrowLeft") clock.step(-1);
  else return false;
  return true;
}

function listenToDrawing() {
  document.querySelectorAll("input[name=tool]").forEach((radio) =>
    radio.addEventListener("change", () => {
      if (tool() !== "look") clock.pause();
      hint();
      show();
    }),
  );
  byId("undo").addEventListener("click", () => editor.undo());
  byId("draw").addEventListener("click", drawMazeFromSource);
  byId("source").addEventListener("change", () => {
    const source = state.setup.sources.find((one) => one.name === byId("source").value);
    byId("size").disabled = !source?.sized;
    drawMazeFromSource();
  });
  byId("next").addEventListener("click", () => {
    byId("maze-seed").value = String(number("maze-seed") + 1);
    drawMazeFromSource();
  });
  byId("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    drawMazeFromSource();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=radio]):not([type=range]), select");
    if (!typing && (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      editor.undo();
    }
  });
}

function listenToPlayers() {
  for (const id of ["agent", "beside"])
    byId(id).addEventListener("change", () => {
      if (byId(id).value === state.setup.keys) byId("show-goal").checked = false;
      setPlayers();
      askTrials();
    });
  for (const id of ["seed", "rule", "steps", "greedy"])
    byId(id).addEventListener("change", askTrials);
  byId("show-goal").addEventListener("change", show);
  byId("film").addEventListener("click", replayFilm);
}

function listenToAll() {
  listenToTime(clock);
  listenToDrawing();
  listenToPlayers();
  byId("share").addEventListener("click", (event) => {
    writeLink();
    link.copy(event.currentTarget);
  });
  addEventListener("hashchange", readLink);
  new ResizeObserver(show).observe(byId("lanes"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    lanes.forEach((lane) => lane.dress());
    show();
  });
}

async function start() {
  try {
    state.setup = await api.setup();
  } catch (error) {
    problem(error.message);
    return;
  }
  fillControls(state.setup);
  byId("source").value = FIRST.source;
  byId("size").value = String(FIRST.size);
  byId("maze-seed").value = String(FIRST.seed);
  listenToAll();
  await readLink();
  document.documentElement.dataset.ready = "true";
}

start();
