// The fields of the page: what can be chosen, and what is.

export const byId = (id) => document.getElementById(id);

// The number that a field holds, which the server looks at; 0 where it is empty.
export function number(id) {
  const value = byId(id).valueAsNumber;
  return Number.isFinite(value) ? value : 0;
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

// Everything that the server lists.
export function fillControls({ agents, sources, keys, limits }) {
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

// Choose a name in a list; whether it is there and can be chosen. Where not, the first is.
export function choose(select, name) {
  if (!name) return true;
  select.value = name;
  const found = select.value === name && !select.selectedOptions[0].disabled;
  if (!found) select.selectedIndex = 0;
  return found;
}

// The buttons and sliders of a clock.
export function listenToTime(clock) {
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
}
