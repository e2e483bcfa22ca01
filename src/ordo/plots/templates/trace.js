(() => {
  const root = document.currentScript.closest(".ordo-trace");
  const find = (name) => root.querySelector("." + name);
  const data = JSON.parse(find("data").textContent);
  const [play, slider, speed, chooser, board, strip, tip] = ["play", "slider", "speed", "chooser", "tokens", "strip", "tip"].map(find);
  const shown = (symbol) => data.shown[symbol] ?? data.symbols[symbol];
  const clamp = (x, least, most) => Math.max(least, Math.min(most, x));

  let row; // the row shown, and for every position the tokens that stood there: {from, to, symbol, logProb, turn}
  let spans = [];
  let now = []; // which of them stands there after `step` steps, if any
  let step = 0;
  let tokens = []; // elements
  let painted = []; // what every element shows
  let selected = -1;
  let hovered = -1;
  let bySlot = false; // whether the position was chosen in the strip, where the tip then belongs
  let playing = 0;

  // Colours: of a step, blended with the page by the token's probability; text in whichever of black and white has the greater contrast.
  let paper = [255, 255, 255];
  let line = ""; // of the theme
  function colour(at) {
    const x = row.steps > 1 ? ((at - 1) / (row.steps - 1)) * (data.colours.length - 1) : (data.colours.length - 1) / 2;
    const [a, b, part] = [data.colours[Math.floor(x)], data.colours[Math.ceil(x)], x % 1];
    return a.map((c, i) => c + (b[i] - c) * part);
  }
  function fill(span) {
    const part = data.least + (1 - data.least) * Math.min(1, Math.exp(span.logProb));
    const rgb = colour(span.from).map((c, i) => Math.round(paper[i] + (c - paper[i]) * part));
    const light = rgb.map((c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return [`rgb(${rgb})`, 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.179 ? "#000" : "#fff"];
  }

  // A row: its events as spans of steps, its tokens as elements.
  function open(number) {
    row = data.rows[number];
    row.steps = row.sizes.length;
    spans = row.given.map(() => []);
    let e = 0;
    row.sizes.forEach((size, s) => {
      for (const end = e + size; e < end; e++) {
        const own = spans[row.position[e]];
        if (row.symbol[e] < 0) own.at(-1).to = s + 1;
        else own.push({ from: s + 1, to: Infinity, symbol: row.symbol[e], logProb: row.log_prob[e] ?? -Infinity, turn: e });
      }
    });
    tokens = spans.map((_, p) => Object.assign(document.createElement("span"), { tabIndex: p ? -1 : 0, position: p, textContent: "·" }));
    board.replaceChildren(...tokens.flatMap(placed));
    painted = tokens.map(() => "");
    [selected, hovered] = [-1, -1];
    slider.max = row.steps;
    strip.setAttribute("aria-valuemax", tokens.length);
    find("calls").textContent = row.calls;
    find("last").textContent = row.steps;
    const total = row.total === null ? "−∞ nats" : row.total.toFixed(2).replace("-", "−") + " nats";
    find("log-prob").textContent = row.remasked.some((x) => x) ? `none: ${data.words[1]}s were masked again` : total;
    go(row.steps);
    // Masked positions keep the width that their tokens will have, so that nothing moves.
    if (data.kind === "text") tokens.map((token) => token.offsetWidth).forEach((w, p) => (tokens[p].style.minWidth = `min(${w}px, 100%)`));
  }
  function placed(token, p) {
    if (data.kind === "text") {
      const final = row.given[p] >= 0 ? row.given[p] : spans[p].at(-1).symbol;
      return data.symbols[final].includes("\n") ? [token, document.createElement("br")] : [token];
    }
    const cell = document.createElement("div");
    cell.className = data.kind === "table" ? "cell" : "square";
    if (data.kind === "table") cell.append(Object.assign(document.createElement("span"), { textContent: data.names[p] }));
    else {
      const [r, c, last] = [Math.floor(p / data.columns), p % data.columns, row.given.length / data.columns - 1];
      board.style.gridTemplateColumns = `repeat(${data.columns}, minmax(0, 48px))`;
      if (c === data.columns - 1) cell.classList.add("end");
      else if ((c + 1) % data.box === 0) cell.classList.add("right");
      if (r === last) cell.classList.add("bottom");
      else if ((r + 1) % data.box === 0) cell.classList.add("below");
    }
    cell.append(token);
    return [cell];
  }

  // A step: only what changed is touched.
  function go(to) {
    step = clamp(to, 0, row.steps);
    now = spans.map((own) => own.find((span) => span.from <= step && step < span.to));
    tokens.forEach((token, p) => {
      const span = now[p];
      const given = row.given[p] >= 0;
      const again = spans[p].some((one) => one.to <= step) ? " again" : "";
      const name = given ? "token given" : !span ? "token masked" : (span.from === step ? "token new" : "token") + again;
      const key = name + (span?.turn ?? "");
      if (painted[p] === key) return;
      painted[p] = key;
      token.className = name + (p === selected ? " selected" : "");
      token.firstChild.data = given ? shown(row.given[p]) : span ? shown(span.symbol) : "·";
      [token.style.background, token.style.color] = span ? fill(span) : ["", ""];
    });
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${row.steps}`);
    const standing = now.filter((span) => span).length;
    find("at").textContent = `step ${step} of ${row.steps}: ${standing} of ${row.given.filter((x) => x < 0).length} decoded`;
    draw();
    tell();
  }

  // The strip: a column for every position, its colour below, its rank as a mark above.
  function draw() {
    const [width, height, scale] = [strip.clientWidth, strip.clientHeight, devicePixelRatio || 1];
    if (!width) return;
    if (strip.width !== Math.round(width * scale)) [strip.width, strip.height] = [Math.round(width * scale), Math.round(height * scale)];
    const pen = strip.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const [column, foot] = [width / tokens.length, height - 20];
    const ranks = ranked();
    now.forEach((span, p) => {
      const [x, w] = [p * column, Math.max(column > 4 ? column - 1 : column, 1)];
      if (p === selected) {
        pen.fillStyle = line;
        pen.fillRect(x, 0, Math.max(w, 2), height);
      }
      pen.fillStyle = span ? `rgb(${colour(span.from).map(Math.round)})` : line;
      if (span) pen.fillRect(x, 4 + ((foot - 12) * ranks.get(span)) / Math.max(ranks.most - 1, 1), Math.max(w, 2), 4);
      if (span) pen.fillRect(x, foot, w, 16);
      else pen.fillRect(x, row.given[p] >= 0 ? foot : foot + 7, w, row.given[p] >= 0 ? 16 : 2);
    });
  }
  function ranked() {
    const ranks = new Map(now.filter((span) => span).sort((a, b) => a.turn - b.turn).map((span, i) => [span, i]));
    ranks.most = row.given.filter((x) => x < 0).length;
    return ranks;
  }

  // The tip: of the token under the pointer, else of the one that was chosen.
  function tell() {
    const p = hovered >= 0 ? hovered : selected;
    tip.hidden = p < 0;
    if (p < 0) return;
    const [span, ranks] = [now[p], ranked()];
    const symbol = row.given[p] >= 0 ? row.given[p] : span?.symbol;
    const place = data.columns ? `line ${Math.floor(p / data.columns) + 1}, column ${(p % data.columns) + 1}; ` : data.names ? data.names[p] + "; " : "";
    const lines = [`${place}${data.words[0]} ${p + 1} of ${tokens.length}`];
    if (row.given[p] >= 0) lines.push("given");
    else if (span) {
      const percent = 100 * Math.exp(span.logProb);
      lines.push(`decoded as number ${ranks.get(span) + 1} of ${ranks.most}, in step ${span.from}`);
      lines.push(`probability ${percent < 0.01 ? percent.toExponential(1) : percent.toPrecision(3)}%`);
    }
    if (row.remasked[p]) lines.push(`masked again: ${row.remasked[p]}× in the whole run`);
    const text = symbol === undefined ? "still masked" : data.symbols[symbol] === "" ? "(empty)" : JSON.stringify(data.symbols[symbol]);
    const head = Object.assign(document.createElement("b"), { textContent: text.length > 160 ? text.slice(0, 159) + "…" : text });
    tip.replaceChildren(head, ...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    let at = tokens[p].getBoundingClientRect();
    if (bySlot && hovered < 0) {
      const [own, x] = [strip.getBoundingClientRect(), ((p + 0.5) * strip.clientWidth) / tokens.length];
      at = { left: own.left + x, width: 0, top: own.top, bottom: own.bottom };
    }
    tip.hidden = at.bottom < 0 || at.top > innerHeight;
    const [width, high] = [tip.offsetWidth, tip.offsetHeight];
    tip.style.left = clamp(at.left + at.width / 2 - width / 2, 8, document.documentElement.clientWidth - width - 8) + "px";
    tip.style.top = (at.bottom + 8 + high < innerHeight ? at.bottom + 8 : Math.max(8, at.top - high - 8)) + "px";
  }
  function select(p, inStrip = false) {
    tokens[selected]?.classList.remove("selected");
    [selected, bySlot] = [p, inStrip];
    if (p >= 0) {
      tokens.forEach((token, i) => (token.tabIndex = i === p ? 0 : -1));
      tokens[p].classList.add("selected");
      strip.setAttribute("aria-valuenow", p + 1);
    }
    draw();
    tell();
  }
  const reveal = (p) => spans[p].length && (stop(), go(spans[p].at(-1).from));

  // Playing: a whole row in at most 12 seconds at speed 1.
  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "▶ Play";
  }
  function start() {
    if (step === row.steps) go(0);
    let [from, began, pace] = [step, performance.now(), speed.value];
    play.textContent = "❚❚ Pause";
    const tick = (time) => {
      if (pace !== speed.value) [from, began, pace] = [step, time, speed.value];
      const to = from + Math.floor((Math.max(0, time - began) * pace) / Math.min(500, 12000 / row.steps));
      if (to > step) go(to);
      if (step < row.steps) playing = requestAnimationFrame(tick);
      else stop();
    };
    playing = requestAnimationFrame(tick);
  }
  const toggle = () => (playing ? stop() : start());

  play.addEventListener("click", toggle);
  find("back").addEventListener("click", () => (stop(), go(step - 1)));
  find("on").addEventListener("click", () => (stop(), go(step + 1)));
  slider.addEventListener("input", () => (stop(), go(+slider.value)));
  chooser?.addEventListener("change", () => (stop(), open(+chooser.value)));

  board.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse") hovered = event.target.position ?? -1;
    tell();
  });
  board.addEventListener("pointerleave", () => ((hovered = -1), tell()));
  board.addEventListener("focusin", (event) => select(event.target.position));
  board.addEventListener("click", (event) => event.target.position !== undefined && select(event.target.position));
  const pick = (event) => {
    const p = Math.floor(((event.clientX - strip.getBoundingClientRect().left) / strip.clientWidth) * tokens.length);
    select(clamp(p, 0, tokens.length - 1), true);
    reveal(selected);
  };
  strip.addEventListener("pointerdown", (event) => (strip.setPointerCapture(event.pointerId), pick(event)));
  strip.addEventListener("pointermove", (event) => event.buttons && pick(event));
  document.addEventListener("pointerdown", (event) => {
    if (!root.contains(event.target) || !event.target.closest(".token, .strip, .controls")) select(-1);
  });

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [inside, down] = [event.target.closest(".tokens, .strip"), data.columns ?? 0];
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -down, ArrowDown: down, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") select(-1);
    else if (inside && move) {
      const p = clamp(Math.max(selected, 0) + (selected < 0 ? 0 : move), 0, tokens.length - 1);
      if (inside === strip) select(p, true);
      else tokens[p].focus();
    } else if (inside && event.key === "Enter") reveal(Math.max(selected, 0));
    else if (event.target.closest("select, input, button") && (event.key === " " || event.target.closest("select, input"))) return;
    else if (event.key === " ") toggle();
    else if (!inside && move && !/Up|Down/.test(event.key)) (stop(), go(step + move));
    else return;
    event.preventDefault();
  }
  root.addEventListener("keydown", keys);
  // On a page of its own the keys work at once; among others only where the focus is.
  const alone = () => document.querySelectorAll(".ordo-trace").length === 1;
  document.addEventListener("keydown", (event) => event.target === document.body && alone() && keys(event));

  function look() {
    paper = getComputedStyle(root).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number);
    line = getComputedStyle(root).getPropertyValue("--line");
    painted = tokens.map(() => "");
    if (row) go(step);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", look);
  addEventListener("scroll", tell, { passive: true, capture: true });
  new ResizeObserver(() => (draw(), tell())).observe(strip);
  look();
  open(0);
})();
