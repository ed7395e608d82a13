"use strict";

const byId = (id) => document.getElementById(id);

function fill(select, texts) {
  const chosen = select.selectedIndex;
  select.replaceChildren(...texts.map((text, place) => new Option(text, String(place))));
  select.selectedIndex = chosen >= 0 && chosen < texts.length ? chosen : 0;
}

/* A profile may have nothing for a part of the page. */
function leaveOut(section) {
  section.hidden = true;
  document.querySelector(`nav a[href="#${section.id}"]`).parentElement.hidden = true;
}

/* Explorer: one sheet per image, of which parts are drawn; a sheet is loaded when its image is chosen. */
function explorer(data) {
  const section = byId("explorer");
  if (!data.images.length || !data.courses.length) {
    leaveOut(section);
    return;
  }
  const [image, kind, course, level, maps] = ["image", "class", "course", "level", "maps"].map(byId);
  const sheets = new Map();
  const hidden = document.createElement("canvas");
  let drawn = 0;

  function sheetOf(number) {
    if (!sheets.has(number)) {
      const sheet = new Image();
      const loaded = new Promise((resolve, reject) => {
        sheet.onload = () => resolve(sheet);
        sheet.onerror = () => reject(new Error(`${sheet.src} is missing beside this page`));
      });
      sheet.src = `page/images/${data.images[number].sheet}`;
      sheets.set(number, loaded);
    }
    return sheets.get(number);
  }

  function cell(name, lines, draw, told) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    const heading = document.createElement("b");
    canvas.width = canvas.height = 224;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", told);
    heading.textContent = name;
    caption.append(heading);
    for (const line of lines) {
      const span = document.createElement("span");
      span.textContent = line;
      caption.append(span);
    }
    draw(canvas.getContext("2d"), canvas.width);
    figure.append(canvas, caption);
    return figure;
  }

  function picture(context, sheet, side, grey) {
    context.filter = grey ? "grayscale(1)" : "none";
    context.drawImage(sheet, 0, 0, data.size, data.size, 0, 0, side, side);
    context.filter = "none";
  }

  function outline(context, sheet, side, number) {
    context.globalCompositeOperation = "lighter";
    context.drawImage(sheet, number * data.size, 0, data.size, data.size, 0, 0, side, side);
    context.globalCompositeOperation = "source-over";
  }

  function heat(context, sheet, side, tile) {
    // The tile alone first: enlarged from within the sheet it would take colours from its neighbours.
    hidden.width = hidden.height = data.tile;
    const x = (tile % data.columns) * data.tile;
    const y = data.size + Math.floor(tile / data.columns) * data.tile;
    hidden.getContext("2d").drawImage(sheet, x, y, data.tile, data.tile, 0, 0, data.tile, data.tile);
    context.imageSmoothingEnabled = true;
    context.globalAlpha = 0.65;
    context.drawImage(hidden, 0, 0, data.tile, data.tile, 0, 0, side, side);
    context.globalAlpha = 1;
  }

  function scores(shown) {
    const [tile, area, hit, predicted, cosine] = shown;
    const said = predicted ? "class predicted" : "class not predicted";
    if (tile === null) return ["map is zero everywhere", said];
    const lines = [
      area === null ? "ROC-AUC: none" : `ROC-AUC ${area.toFixed(1)} %`,
      `maximum ${hit ? "on" : "off"} the object`,
      said,
    ];
    return cosine === null ? lines : [`cosine ${cosine.toFixed(3)}`, ...lines];
  }

  async function show() {
    const turn = ++drawn;
    const number = Number(image.value);
    const found = data.images[number];
    fill(kind, found.classes.map((entry) => entry.courses[Number(course.value)].asked));
    const pair = found.classes[Number(kind.value)];
    const along = data.courses[Number(course.value)];
    level.max = String(along.levels.length - 1);
    level.disabled = along.levels.length < 2;
    if (Number(level.value) >= along.levels.length) level.value = level.max;
    const step = Number(level.value);
    byId("level-text").textContent = along.levels[step];
    level.setAttribute("aria-valuetext", along.levels[step]);
    const sheet = await sheetOf(number);
    if (turn !== drawn) return; // another one was chosen meanwhile
    const networks = pair.courses[Number(course.value)];
    const overlay = (shown) => (context, side) => {
      picture(context, sheet, side, true);
      if (shown[0] !== null) heat(context, sheet, side, shown[0]);
      outline(context, sheet, side, pair.outline);
    };
    const cells = [
      cell("Picture", [networks.asked], (context, side) => picture(context, sheet, side, false),
        `Picture, class ${networks.asked}`),
      cell("Mask", ["outline of the object"], (context, side) => {
        picture(context, sheet, side, true);
        outline(context, sheet, side, pair.outline);
      }, `Outline of ${networks.asked} in the picture`),
      cell("Full network", scores(networks.teacher), overlay(networks.teacher),
        `Map of the full network: ${scores(networks.teacher).join(", ")}`),
    ];
    networks.levels[step].forEach((shown, place) => {
      if (shown === null) return;
      const name = along.methods[place];
      cells.push(cell(name, scores(shown), overlay(shown), `Map under ${name}: ${scores(shown).join(", ")}`));
    });
    maps.replaceChildren(...cells);
    maps.dataset.shown = [number, kind.value, course.value, step].join("-");
    if (number + 1 < data.images.length) sheetOf(number + 1).catch(() => {});
  }

  function move(by) {
    const count = data.images.length;
    image.value = String((Number(image.value) + by + count) % count);
    kind.selectedIndex = 0;
    update();
  }

  const update = () => show().catch((error) => { maps.textContent = error.message; });
  fill(image, data.images.map((_, number) => `${number + 1} of ${data.images.length}`));
  fill(course, data.courses.map((entry) => entry.title));
  level.max = String(data.courses[0].levels.length - 1);
  level.value = level.max;
  for (const control of [image, kind]) control.addEventListener("change", update);
  course.addEventListener("change", () => {
    // Every student is first shown at its end, whatever was looked at before.
    level.max = String(data.courses[Number(course.value)].levels.length - 1);
    level.value = level.max;
    update();
  });
  level.addEventListener("input", update);
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("explorer-form").addEventListener("submit", (event) => event.preventDefault());
  update();
}

/* Tables: a click on a heading sorts by the first number of each cell, or by its text where there is none. */
function tables() {
  byId("table").addEventListener("change", (event) => {
    for (const table of document.querySelectorAll(".table")) table.hidden = table.id !== event.target.value;
  });
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?/.exec(text);
    return number ? Number(number[0].replaceAll(",", "")) : text;
  };
  for (const table of document.querySelectorAll("table")) {
    const rows = [...table.tBodies[0].rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[heading.ariaSort ?? "none"];
      for (const other of headings) other.removeAttribute("aria-sort");
      let sorted = rows;
      if (next !== "none") {
        heading.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        sorted = [...rows].sort((one, other) => {
          const [first, second] = [value(one, column), value(other, column)];
          // What has no value comes last, whichever way.
          if (first === "" || second === "") return (first === "") - (second === "");
          if (typeof first !== typeof second) return typeof first === "number" ? -1 : 1;
          return sign * (typeof first === "number" ? first - second : first.localeCompare(second));
        });
      }
      table.tBodies[0].replaceChildren(...sorted);
    }));
  }
}

/* Curves: Vega-Lite, one chart per panel. */
function curves(entries) {
  const section = byId("curves");
  if (!entries.length) {
    leaveOut(section);
    return;
  }
  const [student, population, charts] = ["curve", "population", "charts"].map(byId);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function specification(panel) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const grid = style.getPropertyValue("--line").trim();
    const black = dark.matches ? "#ffffff" : "#000000";
    const values = panel.lines.flatMap((line) => line.points.map(([x, mean, deviation], place) => ({
      x, mean, low: mean - (deviation ?? 0), high: mean + (deviation ?? 0), deviation, name: line.name,
      reference: line.reference, step: panel.steps[place],
    }))).filter((point) => point.mean !== null);
    const names = panel.lines.map((line) => line.name);
    const colors = panel.lines.map((line) => (line.color === "#000000" ? black : line.color));
    const texts = Object.fromEntries(panel.ticks.map(([position, text]) => [String(position), text]));
    const legend = { orient: "bottom", title: null, columns: 3 };
    const color = { field: "name", type: "nominal", scale: { domain: names, range: colors }, legend };
    const x = {
      field: "x", type: "quantitative", scale: { zero: false, nice: false }, title: panel.x,
      axis: panel.ticks.length
        ? { values: panel.ticks.map((tick) => tick[0]), labelExpr: `(${JSON.stringify(texts)})[toString(datum.value)]` }
        : {},
    };
    const scale = { zero: false };
    const reference = {
      transform: [{ filter: "datum.reference" }], mark: { type: "line", strokeDash: [5, 4] },
      encoding: { x, y: { field: "mean", type: "quantitative", scale }, color },
    };
    return {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      width: "container", height: 230, data: { values }, background: null,
      layer: [
        {
          transform: [{ filter: "!datum.reference" }], mark: { type: "area", opacity: 0.15 },
          encoding: { x, y: { field: "low", type: "quantitative", scale, title: panel.label }, y2: { field: "high" }, color },
        },
        ...(values.some((point) => point.reference) ? [reference] : []),
        {
          transform: [{ filter: "!datum.reference" }], mark: { type: "line", strokeWidth: 2 },
          encoding: { x, y: { field: "mean", type: "quantitative", scale }, color },
        },
        {
          transform: [{ filter: "!datum.reference" }], mark: { type: "point", filled: true, size: 45 },
          encoding: {
            x, y: { field: "mean", type: "quantitative", scale }, color,
            shape: { field: "name", type: "nominal", scale: { domain: names }, legend },
            tooltip: [
              { field: "name", title: "method" }, { field: "mean", title: panel.label, format: ".3f" },
              { field: "deviation", title: "deviation", format: ".3f" }, { field: "step", title: "step" },
            ],
          },
        },
      ],
      config: {
        axis: { labelColor: ink, titleColor: ink, gridColor: grid, domainColor: grid, tickColor: grid, gridOpacity: 0.6 },
        aria: false, // the chart is told as a whole: its parts have no names of their own
        legend: { labelColor: ink, titleColor: ink, symbolOpacity: 1 }, view: { stroke: grid }, font: "system-ui, sans-serif",
      },
    };
  }

  async function draw() {
    const panels = entries[Number(student.value)].panels[population.value];
    const figures = panels.map((panel) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const chart = document.createElement("div");
      chart.style.width = "100%";
      chart.setAttribute("role", "img");
      const names = panel.lines.map((line) => line.name).join(", ");
      chart.setAttribute("aria-label", `${panel.label} by ${panel.x}, a line each for ${names}`);
      caption.textContent = panel.label;
      figure.append(caption, chart);
      return figure;
    });
    charts.replaceChildren(...figures);
    await Promise.all(panels.map((panel, place) => vegaEmbed(
      figures[place].lastElementChild, specification(panel), { actions: false, renderer: "svg" })));
    for (const drawing of charts.querySelectorAll("svg")) drawing.setAttribute("aria-hidden", "true");
    charts.dataset.shown = `${student.value}-${population.value}`;
  }

  fill(student, entries.map((entry) => entry.title));
  for (const control of [student, population]) control.addEventListener("change", draw);
  dark.addEventListener("change", draw);
  // Not before they are looked at: drawing takes longer than all the rest of the page.
  const near = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting)) {
      near.disconnect();
      draw();
    }
  }, { rootMargin: "400px" });
  near.observe(section);
}

explorer(window.PAGE.explorer);
tables();
curves(window.PAGE.curves);
