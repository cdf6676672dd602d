// The page: what is chosen, what is asked for, and when what is drawn.

import * as api from "./api.js";
import { Editor } from "./editor.js";
import { Lane } from "./lane.js";
import * as link from "./link.js";
import { asked } from "./maze.js";
import { Clock } from "./player.js";

const byId = (id) => document.getElementById(id);
const FIRST = { agent: "mazes13", source: "mst", size: 13, seed: 18 };
const GOES = { ArrowUp: 0, w: 0, ArrowDown: 1, s: 1, ArrowLeft: 2, a: 2, ArrowRight: 3, d: 3 };

const HINTS = {
  look: "Space runs and pauses, ← and → go a step. To draw, choose Walls, Start or Goal.",
  wall: "Click or drag to build walls, or to tear them down. Keys: arrows and space.",
  start: "Click where trials start. Keys: arrows and space.",
  goal: "Click where the goal is hidden. Keys: arrows and space.",
  keys: "Arrow keys or W A S D go. To draw, choose Walls, Start or Goal.",
};

const state = { setup: null, maze: null, code: null, playable: false };
const lanes = [];
let asking = null; // ends what was asked before
let mazeQuestion = 0; // the last question about the maze; answers to earlier ones come too late
let toldUntil = -1;

const clock = new Clock(show);
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
  tell(step);
}

// Say what has happened, for those who do not see it; not every step of it.
function tell(step) {
  if (step === toldUntil) return;
  const news = [];
  for (const lane of lanes) {
    if (!lane.trial) continue;
    const name = lane.byKeys ? "You" : lane.player.name;
    const first = lane.trial.finds[0];
    if (first !== undefined && first > toldUntil && first <= step)
      news.push(`${name} found the goal at step ${first}.`);
    if (step >= lane.trial.num_steps && toldUntil < lane.trial.num_steps && lane.length >= lane.trial.num_steps)
      news.push(`${name}: ${lane.trial.finds.length} finds in ${lane.trial.num_steps} steps.`);
  }
  toldUntil = step;
  if (news.length) byId("said").textContent = news.join(" ");
}

function problem(words) {
  const place = byId("problem");
  place.hidden = !words;
  place.textContent = words || "";
}

function note(words) {
  byId("note").hidden = !words;
  byId("note").textContent = words || "";
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
    dropTrials();
    await askTrials();
    return true;
  } catch (error) {
    if (question === mazeQuestion && !silent) problem(error.message);
    return false;
  }
}

function dropTrials() {
  asking?.abort();
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
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  writeLink();
  if (!state.playable) {
    clock.setLength(0);
    return;
  }
  byId("stage").setAttribute("aria-busy", "true");
  try {
    for (const lane of [...lanes].sort((a, b) => a.byKeys - b.byKeys)) {
      const trial = await api.trial(askedTrial(lane), signal);
      if (signal.aborted) return;
      lane.setTrial(trial);
    }
    toldUntil = -1;
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

function again(lane) {
  lane.moves = [];
  askTrials();
}

// Choosing ------------------------------------------------------------------------------------

function number(id) {
  const field = byId(id);
  const value = field.valueAsNumber;
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function options(select, groups) {
  select.replaceChildren();
  for (const [label, choices] of groups) {
    if (!choices.length) continue;
    const group = label ? document.createElement("optgroup") : select;
    if (label) {
      group.label = label;
      select.append(group);
    }
    for (const { value, words, disabled } of choices) {
      const option = new Option(words, value);
      option.disabled = Boolean(disabled);
      group.append(option);
    }
  }
}

function fillControls() {
  const { agents, sources, keys, limits } = state.setup;
  const choice = (agent) => ({ value: agent.name, words: agent.name, disabled: agent.reason });
  const able = agents.filter((agent) => !agent.reason);
  const groups = [
    ["Agents of the package", able.filter((agent) => agent.packaged).map(choice)],
    ["Your runs", able.filter((agent) => !agent.packaged).map(choice)],
    ["You", [{ value: keys, words: "You, by keys" }]],
    ["Not for mazes", agents.filter((agent) => agent.reason).map(choice)],
  ];
  options(byId("agent"), groups);
  options(byId("beside"), [["", [{ value: "", words: "nobody" }]], ...groups]);
  const names = [...new Set(sources.map((source) => source.group))];
  const own = { value: "own", words: "the agent's own test mazes" };
  options(byId("source"), [
    ...names.map((group) => [
      group,
      sources.filter((s) => s.group === group).map((s) => ({ value: s.name, words: s.words })),
    ]),
    ["", [own]],
  ]);
  [byId("size").min, byId("size").max] = [String(limits.least_side), String(limits.most_side)];
  byId("steps").max = String(limits.most_steps);
  for (const id of ["seed", "maze-seed"]) byId(id).max = String(limits.most_seed);
}

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

function shown() {
  return {
    maze: state.code,
    agent: byId("agent").value,
    beside: byId("beside").value,
    seed: number("seed"),
    rule: byId("rule").value,
    steps: number("steps"),
    greedy: byId("greedy").checked,
  };
}

function writeLink() {
  history.replaceState(null, "", link.written(shown()));
}

function choose(select, name) {
  if (!name) return true;
  select.value = name;
  const found = select.value === name && !select.selectedOptions[0].disabled;
  if (!found) select.selectedIndex = 0;
  return found;
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

async function share() {
  writeLink();
  const button = byId("share");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    prompt("The link of this maze and these players:", location.href);
  }
  setTimeout(() => (button.textContent = "Copy link"), 2000);
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
    if ("again" in button.dataset) again(lane);
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

function listenAll() {
  byId("run").addEventListener("click", () => clock.toggle());
  byId("step").addEventListener("click", () => clock.step(1));
  byId("back").addEventListener("click", () => clock.step(-1));
  byId("restart").addEventListener("click", () => {
    clock.pause();
    clock.go(0);
  });
  byId("time").addEventListener("input", (event) => {
    clock.pause();
    clock.go(Number(event.target.value));
  });
  const speed = byId("speed");
  const setSpeed = () => {
    clock.speed = 2 ** speed.valueAsNumber;
    speed.setAttribute("aria-valuetext", `${Math.round(clock.speed)} steps a second`);
  };
  speed.addEventListener("input", setSpeed);
  setSpeed();
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
  for (const id of ["agent", "beside"])
    byId(id).addEventListener("change", () => {
      if (byId(id).value === state.setup.keys) byId("show-goal").checked = false;
      dropTrials();
      setPlayers();
      askTrials();
    });
  for (const id of ["seed", "rule", "steps", "greedy"])
    byId(id).addEventListener("change", () => {
      dropTrials();
      askTrials();
    });
  byId("show-goal").addEventListener("change", show);
  byId("film").addEventListener("click", replayFilm);
  byId("share").addEventListener("click", share);
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
  fillControls();
  byId("source").value = FIRST.source;
  byId("size").value = String(FIRST.size);
  byId("maze-seed").value = String(FIRST.seed);
  listenAll();
  await readLink();
  document.documentElement.dataset.ready = "true";
}

start();
