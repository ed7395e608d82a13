/* Curves: Vega-Lite, one chart per panel. */
function curves() {
  const section = byId("curves");
  const fault = faultOfData("The curves need");
  if (fault) {
    explain(section, fault);
    return;
  }
  const entries = window.PAGE.curves;
  const [student, population, charts] = ["curve", "population", "charts"].map(byId);
  let chosen = 0;

  function specification(panel) {
    // By name, so that they follow the scheme, on paper too.
    const [ink, grid] = ["var(--ink)", "var(--line)"];
    const values = panel.lines.flatMap((line) => line.points.map(([x, mean, deviation], place) => ({
      x, mean, low: mean - (deviation ?? 0), high: mean + (deviation ?? 0), deviation, name: line.name,
      reference: line.reference, step: panel.steps[place],
    }))).filter((point) => point.mean !== null);
    const names = panel.lines.map((line) => line.name);
    const colors = panel.lines.map((line) => (line.color === "#000000" ? ink : line.color));
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
      // All of a chart, its legend too, is within the space that the style reserves.
      width: "container", height: "container", autosize: { type: "fit", contains: "padding" }, data: { values }, background: null,
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

  /* Names and space of the charts; what they show is drawn later. */
  function layOut() {
    chosen += 1;
    const panels = entries[Number(student.value)].panels[population.value] ?? [];
    const drawings = panels.map((panel) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const chart = document.createElement("div");
      chart.setAttribute("role", "img");
      const names = panel.lines.map((line) => line.name).join(", ");
      chart.setAttribute("aria-label", `${panel.label} by ${panel.x}, a line each for ${names}`);
      caption.textContent = panel.label;
      figure.append(caption, chart);
      return { panel, figure, chart };
    });
    charts.replaceChildren(...drawings.map((drawing) => drawing.figure));
    if (!panels.length) charts.append(notice("No method of this student has such pairs: choose other pairs."));
    return drawings;
  }

  async function draw(drawings) {
    const turn = chosen;
    await Promise.all(drawings.map(({ panel, chart }) => window.vegaEmbed(
      chart, specification(panel), { actions: false, renderer: "svg" })));
    if (turn !== chosen) return; // another one was chosen meanwhile
    for (const drawing of charts.querySelectorAll("svg")) drawing.setAttribute("aria-hidden", "true");
    charts.dataset.shown = `${student.value}-${population.value}`;
  }

  fill(student, entries.map((entry) => entry.title));
  const first = layOut();
  for (const control of [student, population]) control.addEventListener("change", () => draw(layOut()));
  document.addEventListener("DOMContentLoaded", () => {
    if (!window.vegaEmbed) {
      explain(section, lacks("The curves need", `${FOLDER}vega.js`));
      return;
    }
    // Not before they are looked at or printed: drawing takes longer than all the rest of the page.
    const once = () => {
      near.disconnect();
      removeEventListener("beforeprint", once);
      if (chosen === 1) draw(first);
    };
    const near = new IntersectionObserver((seen) => {
      if (seen.some((entry) => entry.isIntersecting)) once();
    }, { rootMargin: "400px" });
    near.observe(section);
    addEventListener("beforeprint", once);
  });
}
