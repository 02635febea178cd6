// The settings on the left: which model, what of it, how. They are kept in this tab, and put back from a picture's own.

import { read } from "./api.js";
import { $, h, plural } from "./dom.js";
import { parse, write } from "./json.js";
import { bodyOf } from "./words.js";

const MAX_SEED = 2n ** 63n - 1n, DICE = 10 ** 6; // seeds that can be told on
const FIRST_N = 8, POINTS = 2000;
const RECOMMENDED = ["dpmpp_2m", "ddim", "euler_a", "heun", "ddpm"];
const KEPT = ["seed", "n", "steps", "guidance", "prompt", "negative", "sampler", "class"];

/** What the server has. model: the one that is chosen; runs: null where it shows none. */
export const desk = { models: [], runs: null, samplers: [], limits: {}, model: null };
let carried = {}; // settings of a picture that have no field
let chosen = 0; // models that were chosen so far: answers on older ones are dropped

const field = (id) => $(id).closest("label");
export const hasWords = () => desk.model.reading !== null;
export const roll = () => ($("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % DICE);

export async function load() {
  const runs = read("").then(({ shows_runs: shown }) => (shown ? read("v1/runs") : null));
  [desk.models, desk.samplers, desk.limits, desk.runs] = await Promise.all([read("v1/models"), read("v1/samplers"), read("v1/limits"), runs]);
  listModels();
  for (const id of KEPT) $(id).addEventListener("change", remember);
  $("fresh").addEventListener("change", remember);
  $("model").onchange = () => choose($("model").value).catch((error) => say(error.message, true));
  $("dice").onclick = () => (roll(), remember());
  $("sampler").onchange = () => {
    for (const name of ["eta", "churn", "spacing"]) delete carried[name];
    showCarried();
    when();
  };
  const kept = recalled();
  const there = kept && (kept.model in Object.fromEntries(desk.models.map(({ name }) => [name, 1])) || desk.runs);
  await choose(there ? kept.model : desk.models[0].name).catch(() => choose(desk.models[0].name));
  if (there && desk.model.name === kept.model) {
    carried = kept.carried ?? {};
    for (const id of KEPT) if (kept[id] !== undefined) set(id, kept[id]);
    $("fresh").checked = kept.fresh ?? true;
    showCarried();
    when();
  }
}

function listModels() {
  const option = (name) => h("option", { value: name, textContent: name });
  const own = desk.models.map(({ name }) => name);
  const runs = (desk.runs ?? []).filter((run) => run.model && !own.includes(run.name)).map(({ name }) => name);
  const groups = [h("optgroup", { label: "Models" }, ...own.map(option))];
  if (runs.length) groups.push(h("optgroup", { label: "Runs" }, ...runs.map(option)));
  $("model").replaceChildren(...groups);
}

export function say(text, bad = false) {
  $("notice").textContent = text;
  $("notice").classList.toggle("bad", bad);
}

/** Chooses a model by its name, which of a run may be any of `RUN@STEP:WEIGHTS`. Throws what the server says. */
export async function choose(name) {
  const number = ++chosen;
  say(desk.models.some((one) => one.name === name) ? "" : `Reading ${name}`);
  let model;
  try {
    model = desk.models.find((one) => one.name === name) ?? (await read(`v1/models/${encodeURIComponent(name)}`));
  } catch (error) {
    if (number === chosen && desk.model) $("model").value = desk.model.name;
    throw error;
  }
  if (number !== chosen) return;
  say("");
  if (![...$("model").options].some(({ value }) => value === name)) $("model").add(new Option(name, name));
  $("model").value = name;
  const other = desk.model?.name !== name;
  desk.model = model;
  carried = {};
  fill(other);
  remember();
  dispatchEvent(new Event("model"));
}

/** The fields as the model has them. */
function fill(other) {
  const { model, limits } = desk, { defaults, classes } = model, points = model.kind === "points";
  const size = points ? "points" : `${model.shape.at(-1)}×${model.shape.at(-2)} ${model.kind}${model.shape[0] === 3 ? " in colour" : ""}`;
  const count = model.parameters >= 1e6 ? `${(model.parameters / 1e6).toFixed(1)} M` : `${Math.round(model.parameters / 1e3)} k`;
  const named = classes.length ? `, ${plural(classes.length, "class", "classes")}` : "";
  $("about").textContent = `${model.network}, ${count} parameters: ${size} of ${model.data}${named}; step ${model.step.toLocaleString("en")}, on ${model.device}`;
  $("class-field").hidden = !classes.length;
  const word = (text) => (classes.includes(text) ? word(`(${text})`) : text);
  const options = [[null, word("any")], [word("all"), word("all, in turn")], [word("none"), word("none")], ...classes.map((name) => [name, name])];
  $("class").replaceChildren(...options.map(([value, text]) => new Option(text, JSON.stringify(value))));
  $("words-field").hidden = !hasWords();
  $("prompt").placeholder = model.examples.slice(0, 2).join("\n");
  $("guidance-field").hidden = !model.guidable;
  $("n").max = limits.max_n;
  $("steps").max = limits.max_steps;
  field("n").firstChild.textContent = points ? "Points " : "Pictures ";
  if (other) {
    $("n").value = Math.min(limits.max_n, points ? POINTS : model.kind === "clips" ? 2 : FIRST_N);
    $("steps").value = Math.min(defaults.steps, limits.max_steps);
    $("guidance").value = defaults.guidance;
    $("prompt").value = $("negative").value = "";
  }
  const names = [...new Set([defaults.sampler, ...RECOMMENDED, ...desk.samplers.map(({ name }) => name)])];
  $("sampler").replaceChildren(...names.map((name) => new Option(name, name)));
  $("sampler").value = defaults.sampler;
  showCarried();
  when();
}

function when() {
  const row = desk.samplers.find(({ name }) => name === $("sampler").value);
  $("when").textContent = row ? `${row.when[0].toUpperCase()}${row.when.slice(1)}${row.calls > 1 ? `; ${row.calls} network calls a step` : ""} (${row.paper})` : "";
}

function showCarried() {
  const own = Object.entries(carried).filter(([name]) => !["step", "weights"].includes(name));
  $("carried").hidden = !own.length;
  if (!own.length) return;
  const forget = h("button", { type: "button", class: "small", textContent: "Forget them", onclick: () => ((carried = {}), showCarried(), remember()) });
  const words = own.map(([name, value]) => `${name.replaceAll("_", " ")} ${write(value)}`).join(", ");
  $("carried").replaceChildren(`Of the picture, too: ${words}. `, forget);
}

/** Sets a field; a class that is no option, a list of several, becomes one. */
function set(id, value) {
  if (id === "class" && ![...$("class").options].some((option) => option.value === value)) {
    $("class").add(new Option([parse(value)].flat().join(", "), value));
  }
  $(id).value = value;
}

export function remember() {
  if (!desk.model) return;
  const values = Object.fromEntries(KEPT.map((id) => [id, $(id).value]));
  sessionStorage.setItem("settings", write({ ...values, model: desk.model.name, fresh: $("fresh").checked, carried }));
}

function recalled() {
  try {
    return parse(sessionStorage.getItem("settings"));
  } catch {
    return null;
  }
}

/** What the settings ask for, as a body of /v1/jobs. Throws an Error in words. */
export function wish() {
  const { model } = desk, seed = $("seed").value.trim();
  if (!/^\d{1,19}$/.test(seed) || BigInt(seed) > MAX_SEED) throw fault("seed", "A seed is a whole number from 0 to 2^63 - 1.");
  const body = { model: model.name, seed: BigInt(seed), n: whole("n", "The number of pictures"), steps: whole("steps", "Steps") };
  body.sampler = $("sampler").value;
  if (model.guidable) {
    body.guidance = Number($("guidance").value);
    if ($("guidance").value === "" || !(body.guidance >= 0 && body.guidance <= 100)) throw fault("guidance", "Guidance is a number from 0 to 100; 1 is off.");
  }
  if (model.classes.length && $("class").value !== "null") body.class = parse($("class").value);
  if (hasWords()) {
    const texts = $("prompt").value.split("\n").map((text) => text.trim()).filter(Boolean);
    if (texts.length) body.prompt = texts.length === 1 ? texts[0] : texts;
    if ($("negative").value.trim()) body.negative = $("negative").value.trim();
  }
  return { ...carried, ...body };
}

function whole(id, what) {
  const value = Number($(id).value), most = Number($(id).max);
  if (!Number.isInteger(value) || value < 1 || value > most) throw fault(id, `${what}: a whole number from 1 to ${most}.`);
  return value;
}

function fault(id, words) {
  $(id).focus();
  return new Error(words);
}

/** Puts the settings of a picture back, and chooses its model. Returns what differs, in words, or "". */
export async function put(settings) {
  const own = (model) => model.step === settings.step && model.weights === settings.weights;
  let found = desk.models.find((model) => model.name === settings.model && own(model)), warning = "";
  for (const name of desk.runs ? [settings.model, `${settings.model}@${settings.step}`, `${settings.model}@:${settings.weights}`] : []) {
    if (found || !desk.runs.some((run) => run.name === settings.model)) break;
    const model = await read(`v1/models/${encodeURIComponent(name)}`).catch(() => null);
    if (model && own(model)) found = model;
  }
  found ??= desk.models.find(own);
  if (found) await choose(found.name);
  else {
    const same = desk.models.find((model) => model.name === settings.model);
    if (same) await choose(same.name);
    warning = same
      ? `It was made by ${settings.model} at step ${settings.step} with the weights “${settings.weights}”; here are step ${same.step}, “${same.weights}”: the picture will differ.`
      : `It was made by ${settings.model}, which this server does not have; ${desk.model.name} will make another picture.`;
  }
  const body = bodyOf(settings), { model } = desk;
  set("seed", String(settings.seed));
  $("fresh").checked = false;
  for (const id of ["n", "steps", "guidance", "sampler"]) if (body[id] !== undefined) set(id, body[id]);
  if (model.classes.length) set("class", write(settings.label ?? (settings.task ? "none" : null)));
  if (hasWords()) {
    set("prompt", [settings.prompt ?? ""].flat().join("\n"));
    set("negative", settings.negative ?? "");
  }
  const fields = ["model", "n", "seed", "steps", "guidance", "sampler", "class", "prompt", "negative"];
  const tasks = ["task", "strength", "returns", "feather", "factor", "grain", "seeds"];
  carried = Object.fromEntries(Object.entries(body).filter(([name]) => ![...fields, ...tasks].includes(name)));
  if (!found) ["step", "weights"].forEach((name) => delete carried[name]);
  showCarried();
  when();
  remember();
  return warning;
}
