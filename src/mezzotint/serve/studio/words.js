// Settings in words: what to type for the same picture, and what people read.

import { write } from "./json.js";

const SAMPLING = ["sampler", "steps", "spacing", "eta", "churn", "guidance", "guidance_interval", "guidance_rescale", "clip"];
const ORIGIN = ["model", "step", "weights"];
const OF_TASKS = ["task", "picture", "mask", "strength", "returns", "feather", "factor", "grain", "seeds", "share", "of", "usual"];
export const ASKED = [...SAMPLING, ...ORIGIN, "n", "seed", "prompt", "negative"]; // what a request takes, beside the class

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
const listed = (value) => (value === null || value === undefined ? [] : [value].flat());
const present = (pairs) => Object.fromEntries(pairs.filter(([, value]) => value !== null && value !== undefined));

/** The body of POST /v1/generate for settings as a PNG has them, or of /v1/edits without its files. */
export function bodyOf(settings) {
  const body = present(ASKED.map((name) => [name, settings[name]]));
  if (settings.label !== null && settings.label !== undefined) body.class = settings.label;
  if (!settings.task) return body;
  const own = { edit: ["strength", "returns", "feather"], enlarge: ["factor", "returns", "grain"], colour: ["returns"], morph: ["seeds"] };
  Object.assign(body, present((own[settings.task] ?? []).map((name) => [name, settings[name]])), { task: settings.task });
  if (settings.task === "edit" && !settings.mask && settings.returns !== undefined) delete body.strength; // transparent parts
  if (settings.task === "enlarge" && settings.grain !== undefined) delete body.returns;
  if (settings.task === "morph") delete body.seed;
  return body;
}

/** samplers: rows of /v1/samplers. The command that makes it again; of an edit, its files under plain names. */
export function commandLine(settings, samplers) {
  const { task, model } = settings, row = samplers.find(({ name }) => name === settings.sampler) ?? {};
  const words = ["mezzotint", task ?? "sample", model];
  if (task === "morph") words.push(settings.seeds.join(":"));
  else if (task) words.push("picture.png");
  const { strength, returns, feather, factor, grain } = bodyOf(settings);
  if (task === "edit" && settings.mask) words.push("--mask", "mask.png");
  for (const [name, value] of Object.entries({ strength, returns, feather, factor, grain })) {
    if (value !== undefined && !(name === "feather" && !value)) words.push(`--${name}`, value);
  }
  words.push("-n", settings.n);
  if (task !== "morph") words.push("--seed", settings.seed);
  words.push(...listed(settings.label).map((name) => `--class=${name}`));
  words.push(...listed(settings.prompt).map((text) => `--prompt=${text}`));
  words.push(...listed(settings.negative).map((text) => `--negative=${text}`));
  words.push("--sampler", settings.sampler, "--steps", settings.steps, "--spacing", settings.spacing);
  if (row.eta) words.push("--eta", settings.eta);
  if (row.churn) words.push("--churn", settings.churn);
  words.push("--guidance", settings.guidance);
  if (settings.guidance !== 1) {
    const [low, high] = settings.guidance_interval ?? [0, null];
    words.push("--interval", `${low},${high ?? "inf"}`, "--rescale", settings.guidance_rescale);
  }
  words.push(settings.clip ? "--clip" : "--no-clip", "--weights", settings.weights);
  return words.map((word) => quoted(String(word))).join(" ");
}

/** base: the server's address; secret: whether it wants a token. */
export function curl(settings, base, secret) {
  const head = secret ? ' -H "Authorization: Bearer $MEZZOTINT_TOKEN"' : "", body = bodyOf(settings);
  if (!settings.task || settings.task === "morph") {
    const path = settings.task ? "v1/edits" : "v1/generate";
    return `curl -s${head} ${base}${path} --json ${quoted(write(body))} --output picture.png`;
  }
  const fields = Object.entries(body).flatMap(([name, value]) => listed(value).map((each) => `-F ${quoted(`${name}=${each}`)}`));
  const mask = settings.mask ? ["-F mask=@mask.png"] : [];
  return `curl -s${head} ${base}v1/edits -F image=@picture.png ${[...mask, ...fields].join(" ")} --output made.png`;
}

const inPython = (value) =>
  value === null || value === undefined ? "None"
  : typeof value === "boolean" ? (value ? "True" : "False")
  : Array.isArray(value) ? `[${value.map(inPython).join(", ")}]`
  : typeof value === "string" ? JSON.stringify(value)
  : String(value);

export function python(settings) {
  const { model, class: label, task, seeds, ...body } = bodyOf(settings);
  const words = Object.entries({ label, ...body }).filter(([, value]) => value !== undefined);
  const named = words.map(([name, value]) => `${name}=${inPython(value)}`);
  const places = task === "morph" ? seeds.map(String) : task ? ['"picture.png"'] : [];
  if (settings.mask) places.push('"mask.png"');
  const call = `model.${task ?? "sample"}(${[...places, ...named].join(", ")})`;
  return `import mezzotint\n\nmodel = mezzotint.load(${inPython(model)})\npictures = ${call}\npictures.save("made.png")\n`;
}

/** One line for people. */
export function line(settings) {
  const parts = [];
  if (settings.task && settings.task !== "edit") parts.push(settings.task);
  if (settings.task === "edit") parts.push(settings.mask ? "repainted" : `changed by ${settings.strength}`);
  if (settings.label !== null && settings.label !== undefined) parts.push(`class ${listed(settings.label).join(", ")}`);
  if (settings.prompt) parts.push(`“${listed(settings.prompt).join("”, “")}”`);
  parts.push(settings.sampler, `${settings.steps} steps`);
  if (settings.guidance !== 1) parts.push(`guidance ${settings.guidance}`);
  parts.push(settings.seeds ? `seeds ${settings.seeds.join(" and ")}` : `seed ${settings.seed}`);
  return parts.join(", ");
}

/** What else there is to know of it: [name, value] for a table. */
export const table = (settings) =>
  [...ASKED.filter((name) => name !== "n" || settings.n !== 1), "label", ...OF_TASKS]
    .filter((name) => settings[name] !== null && settings[name] !== undefined && settings[name] !== "")
    .map((name) => [name.replaceAll("_", " "), typeof settings[name] === "object" ? write(settings[name]) : String(settings[name])]);
