// Settings in words, and as requests.

import { write } from "./json.js";

const ASKED = ["model", "n", "seed", "prompt", "negative", "sampler", "steps", "spacing", "eta", "churn", "guidance", "guidance_interval", "guidance_rescale", "clip", "step", "weights"];
export const OF_TASKS = ["task", "strength", "returns", "feather", "factor", "grain", "seeds"];
const there = (value) => value !== null && value !== undefined;

/** The body of /v1/generate for settings as a PNG has them, or that of /v1/edits but for its files. */
export function bodyOf(settings) {
  const body = Object.fromEntries([...ASKED, ...OF_TASKS].filter((name) => there(settings[name])).map((name) => [name, settings[name]]));
  if (there(settings.label)) body.class = settings.label;
  return body;
}

/** One line for people. */
export function line({ task, mask, strength, label, prompt, sampler, steps, guidance, seed, seeds }) {
  const parts = [{ edit: mask ? "repainted" : `changed by ${strength}` }[task] ?? task];
  if (there(label)) parts.push(`class ${label}`);
  if (prompt) parts.push(`“${prompt}”`);
  parts.push(sampler, `${steps} steps`, guidance !== 1 && `guidance ${guidance}`, seeds ? `seeds ${seeds.join(" and ")}` : `seed ${seed}`);
  return parts.filter(Boolean).join(", ");
}

export const named = ({ settings }) => (settings ? line(settings) : "picture");

/** All of them, for a table: [[name, value], ...]. */
export const table = (settings) =>
  Object.entries(settings).filter(([, value]) => there(value) && value !== "")
    .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? write(value) : String(value)]);
