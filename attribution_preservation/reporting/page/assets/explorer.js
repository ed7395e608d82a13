/* Explorer: one sheet per image, of which parts are drawn; a sheet is loaded when its image is chosen. */
function explorer() {
  const fault = faultOfData("The explorer needs");
  if (fault) {
    explain(byId("explorer"), fault);
    return;
  }
  const data = window.PAGE.explorer;
  const [image, kind, course, level, maps] = ["image", "class", "course", "level", "maps"].map(byId);
  const sheets = new Map();
  const hidden = document.createElement("canvas");
  let drawn = 0;

  /* Width and height that the data says: a sheet of another run, or a part of one, has others. */
  function sizeOf(number) {
    const { classes } = data.images[number];
    const entries = classes.flatMap((pair) => pair.courses.flatMap((of) => [of.teacher, ...of.levels.flat()]));
    const tiles = 1 + Math.max(-1, ...entries.map((entry) => entry?.[0] ?? -1));
    const height = data.size + Math.ceil(tiles / data.columns) * data.tile;
    return [Math.max(data.size * (1 + classes.length), data.columns * data.tile), height];
  }

  function sheetOf(number) {
    if (!sheets.has(number)) {
      const sheet = new Image();
      sheet.src = `${FOLDER}images/${data.images[number].sheet}`;
      sheets.set(number, pixelsOf(sheet).then((pixels) => {
        const [width, height] = sizeOf(number);
        if (pixels.width !== width || pixels.height !== height) throw new Error("of another run");
        return pixels;
      }).catch(() => {
        sheets.delete(number); // it may be there the next time
        throw new Error(lacks("These maps need", sheet.getAttribute("src")));
      }));
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
    figure.append(canvas, caption);
    return { figure, canvas, draw: (sheet) => draw(canvas.getContext("2d"), sheet, canvas.width) };
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
    fill(kind, found.classes.map((entry) => entry.courses[Number(course.value)].class));
    const pair = found.classes[Number(kind.value)];
    const along = data.courses[Number(course.value)];
    level.max = String(along.levels.length - 1);
    level.disabled = along.levels.length < 2;
    if (Number(level.value) >= along.levels.length) level.value = level.max;
    const step = Number(level.value);
    byId("level-text").textContent = along.levels[step];
    level.setAttribute("aria-valuetext", along.levels[step]);
    const networks = pair.courses[Number(course.value)];
    const overlay = (shown) => (context, sheet, side) => {
      picture(context, sheet, side, true);
      if (shown[0] !== null) heat(context, sheet, side, shown[0]);
      outline(context, sheet, side, pair.outline);
    };
    const cells = [
      cell("Picture", [networks.class], (context, sheet, side) => picture(context, sheet, side, false),
        `Picture, class ${networks.class}`),
      cell("Mask", ["outline of the object"], (context, sheet, side) => {
        picture(context, sheet, side, true);
        outline(context, sheet, side, pair.outline);
      }, `Outline of ${networks.class} in the picture`),
      cell("Full network", scores(networks.teacher), overlay(networks.teacher),
        `Map of the full network: ${scores(networks.teacher).join(", ")}`),
    ];
    networks.levels[step].forEach((shown, place) => {
      if (shown === null) return;
      const name = along.methods[place];
      cells.push(cell(name, scores(shown), overlay(shown), `Map under ${name}: ${scores(shown).join(", ")}`));
    });
    // Names and scores at once, so that the maps have their space before their sheet is here.
    maps.replaceChildren(...cells.map((entry) => entry.figure));
    try {
      const sheet = await sheetOf(number);
      if (turn !== drawn) return; // another one was chosen meanwhile
      for (const entry of cells) entry.draw(sheet);
    } catch (error) {
      if (turn !== drawn) return;
      for (const { canvas } of cells) {
        canvas.removeAttribute("role");
        canvas.removeAttribute("aria-label");
      }
      maps.append(notice(error.message));
      return;
    }
    maps.dataset.shown = [number, kind.value, course.value, step].join("-");
    if (number + 1 < data.images.length) sheetOf(number + 1).catch(() => {});
  }

  function move(by) {
    const count = data.images.length;
    image.value = String((Number(image.value) + by + count) % count);
    kind.selectedIndex = 0;
    show();
  }

  fill(image, data.images.map((_, number) => `${number + 1} of ${data.images.length}`));
  fill(course, data.courses.map((entry) => entry.title));
  level.max = String(data.courses[0].levels.length - 1);
  level.value = level.max;
  for (const control of [image, kind]) control.addEventListener("change", show);
  course.addEventListener("change", () => {
    // Every student is first shown at its end, whatever was looked at before.
    level.max = String(data.courses[Number(course.value)].levels.length - 1);
    level.value = level.max;
    show();
  });
  level.addEventListener("input", show);
  byId("previous").disabled = byId("next").disabled = data.images.length < 2;
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("explorer-form").addEventListener("submit", (event) => event.preventDefault());
  show();
}

