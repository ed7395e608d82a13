"use strict";

/* Runs before the body: each part is filled right below its own markup, so that nothing further down moves. */
document.documentElement.classList.add("scripted");

const byId = (id) => document.getElementById(id);
const FOLDER = "page/";

function fill(select, texts) {
  const chosen = select.selectedIndex;
  select.replaceChildren(...texts.map((text, place) => new Option(text, String(place))));
  select.selectedIndex = chosen >= 0 && chosen < texts.length ? chosen : 0;
}

/* A paragraph that a screen reader reads out when it comes. */
function notice(sentence) {
  const paragraph = document.createElement("p");
  paragraph.className = "missing";
  paragraph.setAttribute("role", "status");
  paragraph.textContent = sentence;
  return paragraph;
}

/* A sentence in place of controls that would do nothing. */
function explain(section, sentence) {
  const parts = section.querySelector(".scripts");
  parts.hidden = true;
  parts.before(notice(sentence));
}

const remedy = (file) =>
  `copy the whole folder ${file.slice(0, file.indexOf("/"))} of the same run next to this page.`;

const lacks = (what, file) => `${what} ${file}, which is missing or damaged: ${remedy(file)}`;

/* What is wrong with the data beside the page, in a sentence; null where nothing is. */
function faultOfData(what) {
  const file = `${FOLDER}data.js`;
  const { run } = document.documentElement.dataset;
  if (!window.PAGE?.explorer || !window.PAGE.curves) return lacks(what, file);
  if (run && window.PAGE.run !== run) return `${what} the ${file} of this page, and here is that of another run: ${remedy(file)}`;
  return null;
}

/* All pixels of a picture; refused where it is missing, and where a part of it is. */
const pixelsOf = (picture) => picture.decode().then(() => createImageBitmap(picture));

/* Figures: a picture that does not come keeps its words, and says what to do. */
function figures() {
  for (const picture of document.querySelectorAll("#figures img")) {
    const explainIt = () => {
      picture.removeAttribute("width");
      picture.removeAttribute("height");
      picture.after(notice(lacks("This figure needs", picture.getAttribute("src"))));
    };
    picture.addEventListener("error", explainIt, { once: true });
    picture.addEventListener("load", () => {
      pixelsOf(picture).then((pixels) => pixels.close(), explainIt);
    }, { once: true });
  }
}
