"use strict";
// Claims by verdict.
const buttons = document.querySelectorAll(".filters button");
buttons.forEach((button) => button.addEventListener("click", () => {
  buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  const wanted = button.dataset.filter;
  document.querySelectorAll(".claim").forEach((claim) => {
    claim.hidden = wanted !== "all" && claim.dataset.verdict !== wanted;
  });
}));

// The menu is open beside the text, and closed above it.
const menu = document.querySelector(".menu");
const wide = window.matchMedia("(min-width: 64rem)");
const fit = () => { menu.open = wide.matches; };
fit();
wide.addEventListener("change", fit);
menu.addEventListener("click", (event) => { if (event.target.closest("a")) fit(); });

// Small pictures of all figures at the top, and a large one on request; both reuse what is on the page.
const gallery = document.createElement("ol");
gallery.className = "gallery";
document.querySelectorAll(".figures a").forEach((entry) => {
  const link = entry.cloneNode(true);
  const shown = document.querySelector(`figure[id="${link.hash.slice(1)}"] img`);
  if (!shown) return;
  const picture = new Image();
  picture.src = shown.src;
  picture.alt = "";
  link.prepend(picture);
  gallery.appendChild(document.createElement("li")).appendChild(link);
});
document.querySelector("main h2").before(gallery);

const dialog = document.querySelector("dialog");
document.querySelectorAll("figure img").forEach((picture) => picture.addEventListener("click", () => {
  dialog.querySelector("img")?.remove();
  const large = new Image();
  large.src = picture.src;
  large.alt = picture.alt;
  dialog.append(large);
  dialog.showModal();
}));
dialog.addEventListener("click", (event) => { if (event.target !== dialog.querySelector("button")) dialog.close(); });
