/** A line plot as SVG that stands alone: readable on light and on dark ground, and without colours too, by its marks. */

const [WIDTH, HEIGHT] = [760, 420]
const AREA = { left: 72, right: 744, top: 48, bottom: 300 }
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b58900', '#56b4e9', '#8c564b', '#7f7f7f']
const MARKS = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  (x, y) => `<rect x="${round(x - 4)}" y="${round(y - 4)}" width="8" height="8"/>`,
  (x, y) => `<path d="M${x} ${round(y - 5)}l5 9h-10z"/>`,
  (x, y) => `<path d="M${x} ${round(y - 5)}l5 5l-5 5l-5 -5z"/>`,
]
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: #8888; stroke-width: .5 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }`

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
const text = (x, y, content, attributes = '') => `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`
const round = (number) => Number(number.toFixed(1))

/** Places of `values` from left to right: by their logarithm, or one after the other where there is none. */
function across(values) {
  const sorted = [...new Set(values)].sort((a, b) => a - b)
  const place = sorted[0] > 0 ? Math.log : (value) => sorted.indexOf(value)
  const [first, last] = [place(sorted[0]), place(sorted.at(-1))]
  const width = AREA.right - AREA.left - 40
  const x = (value) => round(AREA.left + 20 + (last === first ? 0.5 : (place(value) - first) / (last - first)) * width)
  return { x, ticks: sorted }
}

/** From zero up to something round, so that a small difference looks small. */
function upwards(highest) {
  const rough = highest / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)
  const count = Math.ceil(highest / step)
  const y = (value) => round(AREA.bottom - (value / (count * step)) * (AREA.bottom - AREA.top))
  return { y, ticks: Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(6))) }
}

function line({ points }, index, x, y) {
  const places = points.map(({ at, median }) => `${x(at)},${y(median)}`).join(' ')
  // Beside each other, where several lines have one place.
  const bars = points.map(({ at, min, max }) => {
    const middle = round(x(at) + (index % 4) * 2 - 3)
    return `<path d="M${round(middle - 3)} ${y(max)}h6m-3 0V${y(min)}m-3 0h6"/>`
  })
  const mark = MARKS[index % MARKS.length]
  return `<g stroke="${colour(index)}" fill="none"><polyline points="${places}" stroke-width="2"/>${bars.join('')}
<g fill="${colour(index)}">${points.map(({ at, median }) => mark(x(at), y(median))).join('')}</g></g>`
}

const colour = (index) => COLOURS[index % COLOURS.length]

function legend(lines) {
  return lines.map(({ name }, index) => {
    const [left, top] = [AREA.left + (index % 3) * 224, 364 + Math.floor(index / 3) * 20]
    const mark = `<g fill="${colour(index)}">${MARKS[index % MARKS.length](left + 6, top - 4)}</g>`
    return mark + text(left + 18, top, name)
  })
}

/**
 * @param x what grows to the right
 * @param y what grows upwards
 * @param lines `{ name, points }`, a point being `{ at, median, min, max }`
 */
export function plot({ title, x, y, lines }) {
  const points = lines.flatMap((each) => each.points)
  const horizontal = across(points.map(({ at }) => at))
  const vertical = upwards(Math.max(...points.map(({ max }) => max)))
  const grid = vertical.ticks.map((value) => {
    const height = vertical.y(value)
    const rule = `<path class="grid" d="M${AREA.left} ${height}H${AREA.right}"/>`
    return rule + text(AREA.left - 8, height + 4, value.toLocaleString('en'), 'text-anchor="end"')
  })
  const below = horizontal.ticks.map((value) =>
    text(horizontal.x(value), AREA.bottom + 18, value.toLocaleString('en'), 'text-anchor="middle"'),
  )
  const middle = (AREA.top + AREA.bottom) / 2
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
<title>${escaped(title)}</title><style>${STYLE}</style>
${text(AREA.left, 24, title, 'class="title"')}
${grid.join('\n')}
${below.join('\n')}
${text((AREA.left + AREA.right) / 2, AREA.bottom + 38, x, 'text-anchor="middle"')}
${text(18, middle, y, `text-anchor="middle" transform="rotate(-90 18 ${middle})"`)}
${lines.map((each, index) => line(each, index, horizontal.x, vertical.y)).join('\n')}
${legend(lines).join('\n')}
</svg>
`
}
