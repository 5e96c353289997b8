// The profile: statements to strike out, weigh, lock and add to; every edit is a version that can be undone.

import { get, latest, post } from "./api.js";
import { $, announce, busy, fault, h, later, picture, plural, text, tool } from "./dom.js";
import { concepts } from "./filters.js";
import { lookFor } from "./search.js";
import { state, tell } from "./state.js";

const newest = latest();
let version = 0, undone = 0, working = Promise.resolve();

export const forget = () => { [version, undone] = [0, 0]; $("profile").replaceChildren(h("p", { class: "quiet wait" }, "Reading the profile…")); $("rest").replaceChildren(); note(""); };

export async function refresh() {
  if (!state.about.offers.profiles) return none();
  await busy($("profile"), async () => take(await newest((signal) => get("/v1/profile", { user_id: state.user }, signal))));
}

function none() {
  $("profile").replaceChildren(h("p", { class: "quiet" }, "This server keeps no profiles: lists rest on what was taken and said."));
  for (const id of ["say", "undo", "redo"]) $(id).hidden = true;
}

/** Make edits, one request after another; each follows the version that the one before made. */
function edit(edits, done) {
  const user = state.user;
  working = working.then(() => busy($("profile"), async () => {
    if (user !== state.user) return;
    try {
      const made = await post("/v1/profile", { user_id: user, edits, made_from: version });
      undone = 0;
      if (user !== state.user) return;
      take(made);
      note((made.notes ?? []).join(" "));
      done?.();
      tell("edited");
    } catch (error) {
      note(error.told ? `${error.told.cause}. ${error.told.remedy}` : "", true);
      if (error.status !== 422) fault(error);
      await refresh();
    }
  }));
  return working;
}

const step = (again) => busy($("profile"), async () => {
  const made = await post("/v1/profile/undo", { user_id: state.user, again });
  undone += again ? -1 : 1;
  take(made);
  note("");
  announce(again ? "Done again" : "Undone");
  tell("edited");
});

function note(words, bad = false) {
  $("say-note").textContent = words;
  $("say-note").classList.toggle("bad", bad);
}

function take(made) {
  version = made.version;
  $("undo").disabled = version <= 1;
  $("redo").disabled = undone <= 0;
  const { profile } = made, focused = document.activeElement?.closest?.("#profile [data-key]")?.dataset.key;
  const open = new Set([...$("profile").querySelectorAll("details[open]")].map((one) => one.closest("[data-statement]")?.dataset.statement));
  $("profile").replaceChildren(text(profile.summary, "p", { class: "summary" }), statements(profile.statements, open));
  $("rest").replaceChildren(...[interests(profile), lately(profile), looks(profile), queries(profile)].filter(Boolean));
  $("concepts").replaceChildren(...[...new Set([...profile.statements.map((one) => one.concept), ...concepts()])]
    .filter((one) => !one.startsWith("said:")).map((value) => h("option", { value })));
  if (focused) [...document.querySelectorAll("#profile [data-key]")].find((one) => one.dataset.key === focused)?.focus();
}

function statements(all, open) {
  if (!all.length) return h("p", { class: "empty" }, "No statements yet. Add one below, or like a few more titles.");
  return h("ul", { class: "statements" }, all.map((one) => statement(one, open.has(one.id))));
}

function statement(one, open) {
  const key = (name) => ({ dataset: { key: `${one.id} ${name}` } });
  const weight = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: one.weight, "aria-label": `How much this counts: ${one.text}`, ...key("weight") });
  const value = h("output", {}, one.weight.toFixed(2));
  const change = later(350, () => edit([`reweight ${one.id} ${weight.value}`]));
  weight.addEventListener("input", () => (value.textContent = Number(weight.value).toFixed(2)));
  weight.addEventListener("change", change);
  const tools = h("span", { class: "tools" },
    tool(one.locked ? "lock" : "unlock", `${one.locked ? "Unlock, so that it may change with what you take" : "Lock, so that it stays as it is"}: ${one.text}`,
      () => edit([`${one.locked ? "unlock" : "lock"} ${one.id}`]), { "aria-pressed": String(one.locked), ...key("lock") }),
    tool("never", `${one.forbidden ? "Allow again" : "Never show what has it"}: ${one.text}`,
      () => edit([`${one.forbidden ? "allow" : "forbid"} ${one.id}`]), { "aria-pressed": String(one.forbidden), ...key("never") }),
    tool("close", `Strike out: ${one.text}`, () => edit([`remove ${one.id}`], () => { announce("Struck out"); focusNext(one.id); }), key("strike")));
  return h("li", { class: `statement ${one.polarity}${one.forbidden ? " forbidden" : ""}`, dataset: { statement: one.id } },
    h("div", { class: "row" }, text(one.text, "p"), tools),
    h("div", { class: "weigh" }, h("span", { class: "kind" }, one.forbidden ? "never shown" : one.polarity === "like" ? "more of it" : "less of it"), weight, value),
    one.evidence.length ? evidence(one.evidence, open) : h("p", { class: "source" }, one.modality === "user-stated" ? "said by you" : ""));
}

const evidence = (all, open) => h("details", { open }, h("summary", {}, `rests on, among others, ${plural(all.length, "title")}`),
  h("ul", {}, all.map((one) => h("li", {}, text(one.title), one.date ? h("span", { class: "quiet" }, ` ${one.date}`) : null))));

function focusNext() {
  const next = document.querySelector("#profile .statement button") ?? $("words");
  if (document.activeElement === document.body) next.focus({ preventScroll: true });
}

function interests({ interests }) {
  if (!interests.length) return null;
  return h("section", {}, h("h3", {}, "Interests"), h("ul", { class: "interests" }, interests.map((one) =>
    h("li", { vars: { "--share": one.share } },
      h("div", { class: "row" }, h("p", {}, text(one.name, "b"), h("span", { class: "quiet" }, ` ${Math.round(100 * one.share)} %`)),
        one.concepts.length ? h("span", { class: "tools" },
          h("button", { type: "button", class: "link", "aria-label": `More of ${one.name}`, onclick: () => edit([`raise ${one.name}`]) }, "more"),
          h("button", { type: "button", class: "link", "aria-label": `Less of ${one.name}`, onclick: () => edit([`lower ${one.name}`]) }, "less")) : null),
      h("div", { class: "bar" }), h("p", { class: "quiet" }, "such as ", one.examples.slice(0, 3).flatMap((each, place) => [place ? ", " : "", text(each.title, "i")]))))));
}

function lately({ changes }) {
  return changes.length ? h("section", {}, h("h3", {}, "Lately"), h("ul", { class: "plainlist" }, changes.map((one) => text(one.text, "li")))) : null;
}

function looks({ visual }) {
  if (!visual.palette.length && !visual.style.length) return null;
  const colours = visual.palette.filter((one) => /^#[0-9a-f]{6}$/.test(one.hex));
  return h("section", {}, h("h3", {}, "What your pictures look like"),
    colours.length ? h("div", { class: "palette", role: "img", "aria-label": `Colours: ${colours.map((one) => one.hex).join(", ")}` },
      colours.map((one) => h("span", { title: one.hex, vars: { "--colour": one.hex, "--share": one.share } }))) : null,
    visual.style.length ? text(visual.style.join(", "), "p", { class: "quiet" }) : null,
    visual.examples.length ? h("ul", { class: "known" }, visual.examples.slice(0, 4).map((one) => h("li", {}, picture(one, 128, one.title)))) : null);
}

function queries({ queries }) {
  return queries.length ? h("section", {}, h("h3", {}, "You might look for"), h("ul", { class: "chips" }, queries.slice(0, 8).map((one) =>
    h("li", {}, text(one, "button", { type: "button", class: "chip", onclick: () => lookFor(one) }))))) : null;
}

export function wire() {
  $("undo").addEventListener("click", () => step(false));
  $("redo").addEventListener("click", () => step(true));
  $("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = $("words").value.trim();
    if (words) edit([`${$("how").value} ${words}`], () => { $("words").value = ""; announce("Added"); });
  });
}
