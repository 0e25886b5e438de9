"use strict";
// Each value is in the page once. Where a state shows it, its number stands there, and this script copies the
// value. It makes no markup from text, so nothing in a thread can become part of the page's code.
document.documentElement.classList.add("has-script");
// The policy forbids style attributes, but Chromium applies those of copies.
for (const one of document.querySelectorAll("[style]")) one.removeAttribute("style");
function fill(place) {
  for (const range of place.dataset.parts.split(" ")) {
    const [first, last] = range.split("-").map(Number);
    for (let number = first; number <= (last ?? first); number++) {
      const part = document.getElementById("p" + number);
      if (part) {
        const copy = part.cloneNode(true);
        copy.removeAttribute("id");
        place.append(copy);
      }
    }
  }
  delete place.dataset.parts;
}
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.classList.contains("state"))
    event.target.querySelectorAll("[data-parts]").forEach(fill);
}, true);
for (const place of document.querySelectorAll(".difference [data-parts]")) fill(place);
function show() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }
}
addEventListener("hashchange", show);
document.querySelector("nav").addEventListener("click", (event) => {
  if (event.target.closest("a")?.hash === location.hash) show();
});
for (const button of document.querySelectorAll("[data-open]"))
  button.addEventListener("click", () => {
    for (const one of document.querySelectorAll(".checkpoint")) one.open = button.dataset.open === "1";
  });
if (matchMedia("(max-width: 899px)").matches)
  for (const one of document.querySelectorAll("nav > details")) one.open = false;
show();
