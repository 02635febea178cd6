// Runs functions of the page's own modules outside of a browser: an expression comes on standard input, its value goes out as JSON.
// node helpers_modules.mjs FOLDER < expression; `load("json")` is a module, `$` has what the page has around it.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const events = new EventTarget();
for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"]) globalThis[name] = events[name].bind(events);
globalThis.sessionStorage = { getItem: () => null, setItem() {} };
const element = () => ({ append() {}, replaceChildren() {}, setAttribute() {}, classList: { toggle() {} }, style: {} });
globalThis.document = { getElementById: () => null, createElement: element, documentElement: {} };
globalThis.load = (name) => import(pathToFileURL(`${process.argv[2]}/${name}.js`));
globalThis.BroadcastChannel = undefined;

const expression = readFileSync(0, "utf8");
const value = await eval(`(async () => { ${expression} })()`);
process.stdout.write(JSON.stringify(value, (_, each) => (typeof each === "bigint" ? `${each}n` : each)));
