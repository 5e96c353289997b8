// Who is looked at: choosing, creating, exporting, erasing.

import { download, get, latest, post, remove } from "./api.js";
import { $, announce, ask, busy, fault, h, later, text, toast } from "./dom.js";
import { state, tell } from "./state.js";

const newest = latest();
let options = [], active = -1;

export function choose(user) {
  state.user = user;
  $("user").value = user ?? "";
  close();
  history.replaceState(null, "", user === null ? location.pathname : `#u=${encodeURIComponent(user)}`);
  document.title = user === null ? "Recommendations" : `For ${user}`;
  $("welcome").hidden = user !== null;
  $("stage").hidden = user === null;
  $("whose").textContent = user ?? "";
  if (user === null) showSome();
  tell("user", user);
}

export function fromAddress() {
  const found = /^#u=(.+)$/.exec(location.hash);
  try {
    return found ? decodeURIComponent(found[1]) : null;
  } catch {
    return null;
  }
}

export async function create(user) {
  const made = await post("/v1/users", { user_id: user });
  toast(`${made.user_id} is new here`);
  choose(made.user_id);
  $("query").focus();
}

async function begin() {
  const value = `guest-${Math.floor(1000 + Math.random() * 9000)}`;
  const user = await ask({ heading: "Somebody new", words: "Any name or id will do; it is only used on this server.", yes: "Begin", label: "Id", value });
  if (user) await create(user).catch(fault);
}

async function showSome() {
  const found = await get("/v1/users", { limit: 12 }).catch(() => []);
  $("some").replaceChildren(...found.map((one) => h("li", {}, text(one, "button", { type: "button", class: "chip", onclick: () => choose(one) }))));
  document.querySelector("#welcome .small").hidden = !found.length;
}

async function suggest() {
  const prefix = $("user").value;
  try {
    const found = await newest((signal) => get("/v1/users", { prefix, limit: 8 }, signal));
    options = found.map((user) => ({ user }));
    if (prefix && !found.includes(prefix)) options.push({ user: prefix, create: true });
    active = -1;
    $("users").replaceChildren(...options.map((one, place) =>
      h("li", { role: "option", id: `user-${place}`, "aria-selected": "false",
        onpointerdown: (event) => { event.preventDefault(); take(place); } },
      one.create ? ["Create ", text(one.user, "b")] : text(one.user))));
    open(options.length > 0);
    announce(`${found.length} known`);
  } catch (error) {
    fault(error);
  }
}

function open(yes) {
  $("users").hidden = !yes;
  $("user").setAttribute("aria-expanded", String(yes));
  mark(yes ? active : -1);
}

const close = () => { options = []; open(false); };

function mark(place) {
  active = place;
  [...$("users").children].forEach((one, at) => one.setAttribute("aria-selected", String(at === place)));
  if (place >= 0) {
    $("user").setAttribute("aria-activedescendant", `user-${place}`);
    $("users").children[place].scrollIntoView({ block: "nearest" });
  } else $("user").removeAttribute("aria-activedescendant");
}

function take(place) {
  const one = options[place];
  if (one) (one.create ? create(one.user) : Promise.resolve(choose(one.user))).catch(fault);
}

async function submit() {
  const user = $("user").value;
  if (!user) return;
  if (active >= 0) return take(active);
  try {
    const found = await get("/v1/users", { prefix: user, limit: 1 });
    if (found.includes(user)) return choose(user);
    const made = await ask({ heading: "Nobody of that id", words: `“${user}” is not known here. Create this person?`, yes: "Create" });
    if (made) await create(user);
  } catch (error) {
    fault(error);
  }
}

function keys(event) {
  const count = options.length;
  if (event.key === "Escape") close();
  else if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
  else if (!count) suggest();
  else mark(event.key === "ArrowDown" ? (active + 1) % count : (active - 1 + count) % count);
  event.preventDefault();
}

async function exportMe() {
  const content = await busy($("export"), () => download("/v1/export", { user_id: state.user }));
  if (!content) return;
  const address = URL.createObjectURL(content);
  h("a", { href: address, download: "my-data.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  announce("Downloaded");
}

async function erase() {
  const user = state.user;
  const sure = await ask({
    heading: "Erase everything?", yes: "Erase",
    words: `What “${user}” said and edited, the profile and all its versions, are removed for good. It cannot be undone.`,
  });
  if (!sure) return;
  const done = await busy($("erase"), () => remove("/v1/users", { user_id: user }));
  if (!done) return;
  choose(null);
  const gone = Object.entries(done.erased).map(([what, count]) => `${count} ${what.replaceAll("_", " ")}`).join(", ");
  toast(`Erased: ${gone}`);
}

export function wire() {
  $("user").addEventListener("input", later(120, suggest));
  $("user").addEventListener("focus", () => { $("user").select(); suggest(); });
  $("user").addEventListener("blur", () => { close(); $("user").value = state.user ?? ""; });
  $("user").addEventListener("keydown", keys);
  $("who").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  for (const id of ["fresh", "start"]) $(id).addEventListener("click", begin);
  $("export").addEventListener("click", exportMe);
  $("erase").addEventListener("click", erase);
  addEventListener("hashchange", () => { if (fromAddress() !== state.user) choose(fromAddress()); });
}
