// The link of what is shown: everything that a trial depends on, behind the "#".

const FIELDS = ["maze", "agent", "beside", "seed", "rule", "steps", "greedy"];

export function written(shown) {
  const fields = new URLSearchParams();
  for (const name of FIELDS) {
    const value = shown[name];
    if (value !== undefined && value !== null && value !== "" && value !== false && value !== 0)
      fields.set(name, value === true ? "1" : String(value));
  }
  return `#${fields}`;
}

// What a link says; what it says badly is as if it said nothing, but for the maze and the agents,
// which the server reads.
export function read(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const whole = (name, least) => {
    const text = fields.get(name) || "";
    return /^\d{1,10}$/.test(text) && Number(text) >= least ? Number(text) : null;
  };
  const rule = fields.get("rule");
  return {
    maze: fields.get("maze"),
    agent: fields.get("agent"),
    beside: fields.get("beside"),
    seed: whole("seed", 0) ?? 0,
    rule: rule === "start" || rule === "random" ? rule : null,
    steps: whole("steps", 1),
    greedy: fields.get("greedy") === "1",
  };
}

// Put the address of the page into the clipboard, or show it where there is none.
export async function copy(button) {
  const words = "Copy link";
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = words), 2000);
  } catch {
    prompt("The link of this maze and these players:", location.href);
  }
}
