/* Tables: a click on a heading sorts by the number at the start of each cell, or by its text in a column of words. */
const NUMBER = /^[+-]?(?:[\d,]*\.)?\d[\d,]*(?:e[+-]?\d+)?(?![\w.])/i;

/* A cell without its marks and without a published value in parentheses. */
const ownText = (cell) => cell.textContent.replace(/\([^)]*\)|[†‡*]/g, "").trim();

/* By cell its number, or its text in a column that holds words; null where a value is missing. */
function valuesOf(cells) {
  const own = cells.map(ownText).map((text) => (/^(?:[-–—]?|nan|none|n\/a)$/i.test(text) ? null : text));
  if (own.every((text) => text === null || NUMBER.test(text))) {
    return own.map((text) => text && Number(NUMBER.exec(text)[0].replaceAll(",", "")));
  }
  return own.map((text, place) => text && cells[place].textContent.trim());
}

function sortedRows(rows, column, sign) {
  const values = valuesOf(rows.map((row) => row.cells[column]));
  const known = rows.map((row, place) => ({ row, value: values[place] }));
  const compare = (first, second) => (typeof first === "number"
    ? first - second : first.localeCompare(second, "en", { numeric: true }));
  return known.sort((one, other) => {
    // What has no value comes last, whichever way.
    if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
    return sign * compare(one.value, other.value);
  }).map((entry) => entry.row);
}

function tables() {
  byId("table").addEventListener("change", (event) => {
    for (const table of document.querySelectorAll(".table")) table.hidden = table.id !== event.target.value;
  });
  for (const table of document.querySelectorAll(".table table")) {
    const [body] = table.tBodies; // rows of its foot describe columns and keep their place
    const rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      // A button, so that a keyboard reaches it; without this script there is only the text.
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const next = { none: "descending", descending: "ascending", ascending: "none" }[heading.ariaSort ?? "none"];
        for (const other of headings) other.removeAttribute("aria-sort");
        if (next !== "none") heading.setAttribute("aria-sort", next);
        body.replaceChildren(...(next === "none" ? rows : sortedRows(rows, column, next === "ascending" ? 1 : -1)));
      });
    });
  }
}
