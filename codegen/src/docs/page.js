"use strict";
// Search by typing: entries without all of the words are hidden. "/" goes there, Escape ends it.
const search = document.getElementById("search");
const entries = [...document.querySelectorAll("article")].map((article) => ({
  article,
  text: (article.id + " " + article.textContent).toLowerCase(),
  line: document.querySelector(`nav li[data-for="${CSS.escape(article.id)}"]`),
}));
const others = document.querySelectorAll("h2, .overview");
const nothing = document.getElementById("nothing");
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { article, text, line } of entries) {
    const fits = words.every((word) => text.includes(word));
    found += fits;
    article.hidden = !fits;
    if (line) line.style.display = fits ? "" : "none";
  }
  for (const other of others) other.hidden = words.length > 0;
  nothing.hidden = found > 0;
};
search.hidden = false;
search.addEventListener("input", filter);
// A link to what is hidden shows all again.
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.hidden) {
    search.value = "";
    filter();
    target.scrollIntoView();
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    filter();
    search.blur();
  }
});
