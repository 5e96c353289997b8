// The page: who is looked at, and what follows from what they do.

import { get } from "./api.js";
import { $, fault, plural } from "./dom.js";
import * as filters from "./filters.js";
import * as item from "./item.js";
import * as list from "./list.js";
import * as past from "./past.js";
import * as people from "./people.js";
import * as profile from "./profile.js";
import * as search from "./search.js";
import { on, state } from "./state.js";

function view(name) {
  document.body.dataset.view = name;
  if (name === "list") $("news").textContent = "";
  for (const one of document.querySelectorAll(".views button")) one.setAttribute("aria-pressed", String(one.dataset.view === name));
}

async function start() {
  for (const part of [people, list, search, profile, item]) part.wire();
  filters.wire(() => { list.firstPage(); list.refresh("filter"); });
  for (const one of document.querySelectorAll(".views button")) one.addEventListener("click", () => { view(one.dataset.view); scrollTo(0, 0); });
  on("open", item.open);
  on("user", (user) => {
    if (user === null) return;
    view("list");
    $("query").value = "";
    search.shut();
    list.reset();
    profile.forget();
    for (const part of [list, past, profile]) part.refresh();
  });
  on("said", () => { for (const part of [past, profile]) part.refresh(); list.refresh("said"); });
  on("gone", () => people.choose(null));
  on("edited", () => list.refresh("edited"));
  try {
    const about = (state.about = await get("/v1/about"));
    $("name").textContent = about.name || "Recommendations";
    $("sizes").textContent = `${plural(about.users, "person", "people")}, ${plural(about.items + about.new_items, "title")}`;
    $("model").textContent = `Model ${about.model}, ${about.key.slice(0, 12)}.`;
    people.choose(people.fromAddress());
  } catch (error) {
    fault(error);
  }
}

start();
