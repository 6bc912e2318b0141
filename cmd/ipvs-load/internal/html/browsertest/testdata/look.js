// What a person sees of the page: which plots, how much contrast. It is evaluated by the test; the page has no script.
(() => {
  const colour = text => {
    const n = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number); // none is transparent
    return {r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1};
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = c => 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const background = e => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(colour(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, c) => over(c, below), {r: 255, g: 255, b: 255, a: 1});
  };
  const seen = e => e.checkVisibility() && e.getBoundingClientRect().width > 0;
  const tooPale = (e, paint, least) => {
    const below = background(e), ratio = contrast(over(colour(paint), below), below);
    return ratio < least ? `${ratio.toFixed(2)}: <${e.tagName} class="${e.getAttribute('class') || ''}"> ${e.textContent.slice(0, 40)}` : null;
  };

  const result = {plots: [], pale: [], paleLines: [], texts: 0, lines: 0};
  result.resources = performance.getEntriesByType('resource').length;
  result.background = luminance(background(document.body));
  result.pageWidth = document.documentElement.scrollWidth;
  result.screenWidth = document.documentElement.clientWidth;

  for (const svg of document.querySelectorAll('svg.plot')) {
    if (!seen(svg)) continue;
    const r = svg.getBoundingClientRect();
    const plot = {label: svg.getAttribute('aria-label'), x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, points: 0, outside: []};
    for (const e of svg.querySelectorAll('path, rect, circle, text')) {
      const b = e.getBoundingClientRect(), slack = 1;
      if (!(b.left >= r.left - slack && b.right <= r.right + slack && b.top >= r.top - slack && b.bottom <= r.bottom + slack))
        plot.outside.push(`${e.tagName}.${e.getAttribute('class')} ${e.textContent.slice(0, 30)} ${[b.left - r.left, b.top - r.top, b.right - r.left, b.bottom - r.top].map(v => v.toFixed(0))}`);
      if (e.tagName === 'path') plot.points = Math.max(plot.points, e.getAttribute('d').match(/[ML]/g).length);
    }
    result.plots.push(plot);
  }

  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || e.tagName === 'title' || e.tagName === 'SCRIPT' || !seen(e)) continue;
    const style = getComputedStyle(e);
    result.texts++;
    const pale = tooPale(e, e.closest('svg') ? style.fill : style.color, 4.5);
    if (pale) result.pale.push(pale);
  }
  for (const e of document.querySelectorAll('svg .line, svg .jitter, svg .offered, svg .event, svg .window, svg .expected, svg .bar, svg .dot, svg [class^="k"]')) {
    if (!seen(e.ownerSVGElement)) continue;
    const style = getComputedStyle(e);
    result.lines++;
    const pale = tooPale(e, e.tagName === 'path' ? style.stroke : style.fill, 3);
    if (pale) result.paleLines.push(pale);
  }
  return result;
})()
