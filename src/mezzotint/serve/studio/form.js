// The settings: which model, what of it, how. They are kept in this tab, and put back from a picture's own.

import { read } from "./api.js";
import { $, h, plural, tell } from "./dom.js";
import { parse, write } from "./json.js";
import { bodyOf, OF_TASKS } from "./words.js";

const DICE = 10 ** 6, PREVIEWS = 24; // seeds that can be told on; previews of a job
const USUAL_N = { pictures: 8, points: 2000, clips: 2 };
const FIELDS = ["seed", "n", "steps", "guidance", "prompt", "negative", "sampler", "class"];

/** What the server has. model: the one that is chosen; runs: null where it shows none. */
export const desk = { models: [], runs: null, samplers: [], limits: {}, model: null };
let carried = {}; // settings of a picture that have no field
let chosen = 0; // models that were chosen so far: answers on older ones are dropped

export const hasWords = () => desk.model.reading !== null;
export const roll = () => ($("seed").value = Math.floor(Math.random() * DICE));
export const options = (some) => some.map(({ name }) => new Option(name, name));
const info = (name) => read(`v1/models/${encodeURIComponent(name)}`);

export async function load() {
  const runs = read("").then(({ shows_runs: shown }) => (shown ? read("v1/runs") : null));
  [desk.models, desk.samplers, desk.limits, desk.runs] = await Promise.all([read("v1/models"), read("v1/samplers"), read("v1/limits"), runs]);
  const own = desk.models.map(({ name }) => name);
  const others = (desk.runs ?? []).filter(({ name, model }) => model && !own.includes(name));
  $("model").replaceChildren(h("optgroup", { label: "Models" }, ...options(desk.models)), h("optgroup", { label: "Runs", hidden: !others.length }, ...options(others)));
  $("settings").onchange = remember;
  $("model").onchange = () => choose($("model").value).catch((error) => say(error.message, true));
  $("dice").onclick = () => (roll(), remember());
  $("sampler").onchange = () => {
    for (const name of ["eta", "churn", "spacing"]) delete carried[name];
    explain();
  };
  const kept = parse(sessionStorage.getItem("settings") ?? "null");
  await choose(kept?.model ?? own[0]).catch(() => choose(own[0]));
  if (desk.model.name !== kept?.model) return;
  for (const id of FIELDS) set(id, kept[id]);
  $("fresh").checked = kept.fresh;
  carried = kept.carried;
  explain();
}

export const say = (words, bad) => tell($("notice"), words, bad);

/** Chooses a model by its name, which of a run may be any of `RUN@STEP:WEIGHTS`. Throws what the server says. */
export async function choose(name) {
  const number = ++chosen;
  let model = desk.models.find((one) => one.name === name);
  say(model ? "" : `Reading ${name}.`);
  try {
    model ??= await info(name);
  } catch (error) {
    if (number === chosen && desk.model) $("model").value = desk.model.name;
    throw error;
  }
  if (number !== chosen) return;
  say("");
  set("model", name);
  const other = desk.model?.name !== name;
  desk.model = model;
  carried = {};
  fill(other);
  remember();
  dispatchEvent(new Event("model"));
}

/** The fields as the model has them. */
function fill(other) {
  const { model, limits } = desk, { defaults, classes, kind, shape, parameters } = model;
  const size = kind === "points" ? kind : `${shape.at(-1)}×${shape.at(-2)} ${kind}${shape[0] === 3 ? " in colour" : ""}`;
  const named = classes.length ? `, ${plural(classes.length, "class", "classes")}` : "";
  $("about").textContent = `${model.network}, ${Math.round(parameters / 1e3)} k parameters: ${size} of ${model.data}${named}; step ${model.step}, on ${model.device}`;
  $("class-field").hidden = !classes.length;
  const word = (text) => (classes.includes(text) ? word(`(${text})`) : text);
  const choices = [[null, word("any")], [word("all"), word("all, in turn")], [word("none"), word("none")], ...classes.map((name) => [name, name])];
  $("class").replaceChildren(...choices.map(([value, text]) => new Option(text, JSON.stringify(value))));
  $("words-field").hidden = !hasWords();
  $("prompt").placeholder = model.examples.slice(0, 2).join("\n");
  $("guidance-field").hidden = !model.guidable;
  $("n-name").textContent = { points: "Points", clips: "Clips" }[kind] ?? "Pictures";
  $("n").max = limits.max_n;
  $("steps").max = limits.max_steps;
  if (other) {
    $("sampler").replaceChildren(...options(desk.samplers.filter(({ name }) => model.samplers.includes(name))));
    const { steps, guidance, sampler } = defaults, usual = { n: Math.min(limits.max_n, USUAL_N[kind]), steps, guidance, sampler, prompt: "", negative: "" };
    Object.entries(usual).forEach(([id, value]) => set(id, value));
  }
  explain();
}

/** What the sampler is good for, and what is carried without a field. */
function explain() {
  const { when, calls, paper } = desk.samplers.find(({ name }) => name === $("sampler").value);
  $("when").textContent = `${when}${calls > 1 ? `; ${calls} network calls a step` : ""} (${paper})`;
  const words = Object.keys(carried).filter((name) => !["step", "weights"].includes(name)).map((name) => name.replaceAll("_", " "));
  const forget = () => {
    carried = {};
    explain();
    remember();
  };
  $("carried").hidden = !words.length;
  $("carried").replaceChildren(`Kept from the picture: ${words.join(", ")} `, h("button", { type: "button", className: "small", textContent: "Forget these", onclick: forget }));
}

/** Sets a field; what is no option of it becomes one. */
function set(id, value) {
  if ($(id).options && ![...$(id).options].some((option) => option.value === value)) $(id).add(new Option(value.replace(/["[\]]/g, ""), value));
  $(id).value = value;
}

export function remember() {
  const values = Object.fromEntries(FIELDS.map((id) => [id, $(id).value]));
  sessionStorage.setItem("settings", write({ ...values, model: desk.model.name, fresh: $("fresh").checked, carried }));
}

/** What the settings ask for, as a body of /v1/jobs. Throws an Error in words. */
export function wish() {
  const { model } = desk, text = (id) => $(id).value.trim();
  const fault = (id, words) => {
    $(id).focus();
    throw new Error(words);
  };
  const whole = (id, what) => {
    const value = Number(text(id)), { max } = $(id);
    return Number.isInteger(value) && value >= 1 && value <= max ? value : fault(id, `${what}: a whole number from 1 to ${max}.`);
  };
  if (!/^\d{1,19}$/.test(text("seed")) || BigInt(text("seed")) >= 2n ** 63n) fault("seed", "A seed is a whole number from 0 to 2^63 - 1.");
  const body = { ...carried, model: model.name, seed: BigInt(text("seed")), n: whole("n", "Pictures"), steps: whole("steps", "Steps"), sampler: text("sampler") };
  body.preview_every = Math.ceil(body.steps / PREVIEWS);
  if (model.guidable) {
    body.guidance = text("guidance") === "" ? NaN : Number(text("guidance"));
    if (!(body.guidance >= 0 && body.guidance <= 100)) fault("guidance", "Guidance is a number from 0 to 100; 1 is off.");
  }
  if (model.classes.length && text("class") !== "null") body.class = parse(text("class"));
  if (hasWords()) {
    const lines = text("prompt").split("\n").map((one) => one.trim()).filter(Boolean);
    if (lines.length) body.prompt = lines.length === 1 ? lines[0] : lines;
    if (text("negative")) body.negative = text("negative");
  }
  return body;
}

/** The model of this server that made a picture of these settings: its name, or undefined. */
async function maker({ model: name, step, weights }) {
  const own = (model) => model?.step === step && model.weights === weights, there = desk.models.filter(own);
  if (there.length) return (there.find((model) => model.name === name) ?? there[0]).name;
  for (const each of desk.runs?.some((run) => run.name === name) ? [name, `${name}@${step}`] : []) {
    if (own(await info(each).catch(() => null))) return each;
  }
}

/** Puts the settings of a picture back, and chooses its model. Returns what differs, in words, or "". */
export async function put(settings) {
  const found = await maker(settings), same = desk.models.some(({ name }) => name === settings.model);
  if (found || same) await choose(found ?? settings.model);
  const { model } = desk, { label, task, prompt, ...rest } = settings, body = bodyOf(rest);
  $("fresh").checked = false;
  for (const id of ["seed", "n", "steps", "guidance", "sampler"]) if (body[id] !== undefined) set(id, String(body[id]));
  if (model.classes.length) set("class", write(label ?? (task ? "none" : null)));
  if (hasWords()) {
    set("prompt", [prompt ?? ""].flat().join("\n"));
    set("negative", settings.negative ?? "");
  }
  const own = [...FIELDS, ...OF_TASKS, "model", ...(found ? [] : ["step", "weights"])];
  carried = Object.fromEntries(Object.entries(body).filter(([name]) => !own.includes(name)));
  explain();
  remember();
  if (found) return "";
  return `It was made by ${settings.model} at step ${settings.step} with the weights “${settings.weights}”, which this server does not have: the picture will differ.`;
}
