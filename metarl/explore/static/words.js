// What the page says: hints, problems, notes, and what has happened.

import { byId } from "./controls.js";

export const HINTS = {
  look: "Space runs and pauses, ← and → go a step. To draw, choose Walls, Start or Goal.",
  wall: "Click or drag to build walls, or to tear them down. Keys: arrows and space.",
  start: "Click where trials start. Keys: arrows and space.",
  goal: "Click where the goal is hidden. Keys: arrows and space.",
  keys: "Arrow keys or W A S D go. To draw, choose Walls, Start or Goal.",
};

export function problem(words) {
  const place = byId("problem");
  place.hidden = !words;
  place.textContent = words || "";
}

export function note(words) {
  byId("note").hidden = !words;
  byId("note").textContent = words || "";
}

// Says what has happened, for those who do not see it; not every step of it.
export class Teller {
  constructor() {
    this.begin();
  }

  // A trial begins.
  begin() {
    this.until = -1;
  }

  tell(lanes, step) {
    if (step === this.until) return;
    const news = [];
    for (const lane of lanes) {
      if (!lane.trial) continue;
      const name = lane.byKeys ? "You" : lane.player.name;
      const { finds, num_steps: last } = lane.trial;
      if (finds.length && finds[0] > this.until && finds[0] <= step)
        news.push(`${name} found the goal at step ${finds[0]}.`);
      if (step >= last && this.until < last && lane.length >= last)
        news.push(`${name}: ${finds.length} finds in ${last} steps.`);
    }
    this.until = step;
    if (news.length) byId("said").textContent = news.join(" ");
  }
}
