// Questions to the server. What it refuses is thrown as an Error whose message says what to change.

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: is `metarl explore` still running?");
  }
  let value;
  try {
    value = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(`The server's answer cannot be read (status ${answer.status}).`);
  }
  if (!answer.ok) throw new Error(value.error || `status ${answer.status}`);
  return value;
}

const post = (name, fields, signal) =>
  ask(`api/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
    signal,
  });

export const setup = () => ask("api/setup");
export const maze = (fields) => post("maze", fields);
export const trial = (fields, signal) => post("trial", fields, signal);
export const anchors = (fields, signal) => post("anchors", fields, signal);
