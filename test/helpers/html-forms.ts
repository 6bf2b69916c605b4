export interface Field {
  readonly name: string
  readonly value: string
  readonly type: string
  /** Whether it takes part in the submission: false for unticked boxes. */
  readonly checked: boolean
}

export interface Button {
  readonly name: string
  readonly value: string
  readonly text: string
  readonly action: string | undefined
}

export interface Form {
  /** As written; empty: the page's own URL. */
  readonly action: string
  readonly method: 'GET' | 'POST'
  readonly fields: Field[]
  readonly buttons: Button[]
}

/** A value, ticked values, null to leave the field out, or true/false to tick or untick all boxes of that name. */
export type Overrides = Record<string, string | string[] | boolean | null>

const tag = /<(\/?)(form|input|button|select|option|textarea)\b((?:"[^"]*"|'[^']*'|[^'">])*)>/gi
const attribute = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g

/** The forms of a page. Enough of HTML for pages written by servers, not a parser for everything. */
export function parseForms(html: string): Form[] {
  const source = html.replace(/<!--[\s\S]*?-->|<(script|style)\b[\s\S]*?<\/\1\s*>/gi, '')
  const forms: Form[] = []
  let form: Form | undefined
  let select: { name: string; options: { value: string; selected: boolean }[] } | undefined

  for (const match of source.matchAll(tag)) {
    const closing = match[1] === '/'
    const element = match[2]!.toLowerCase()
    const attributes = parseAttributes(match[3]!)
    const content = source.slice(match.index + match[0].length)
    const name = attributes.get('name') ?? ''

    if (element === 'form') {
      form = undefined
      if (closing) continue
      const method = attributes.get('method')?.toUpperCase() === 'POST' ? 'POST' : 'GET'
      form = { action: attributes.get('action') ?? '', method, fields: [], buttons: [] }
      forms.push(form)
    } else if (!form) {
    } else if (element === 'select') {
      if (!closing) {
        select = attributes.has('disabled') ? undefined : { name, options: [] }
      } else if (select) {
        const chosen = select.options.find(({ selected }) => selected) ?? select.options[0]
        if (chosen) form.fields.push({ name: select.name, value: chosen.value, type: 'select', checked: true })
        select = undefined
      }
    } else if (closing || attributes.has('disabled')) {
    } else if (element === 'option') {
      const value = attributes.get('value') ?? textUntil(content, /</)
      select?.options.push({ value, selected: attributes.has('selected') })
    } else if (element === 'textarea') {
      form.fields.push({ name, value: textUntil(content, /<\/textarea/i), type: 'textarea', checked: true })
    } else {
      const type = attributes.get('type')?.toLowerCase() ?? (element === 'button' ? 'submit' : 'text')
      const action = attributes.get('formaction')
      if (type === 'submit' || type === 'image') {
        const value = attributes.get('value') ?? ''
        const text = element === 'button' ? textUntil(content, /<\/button/i) : value
        form.buttons.push({ name, value, text, action })
      } else if (type === 'checkbox' || type === 'radio') {
        form.fields.push({
          name,
          value: attributes.get('value') ?? 'on',
          type,
          checked: attributes.has('checked'),
        })
      } else if (element === 'input' && type !== 'button' && type !== 'reset' && type !== 'file') {
        form.fields.push({ name, value: attributes.get('value') ?? '', type, checked: true })
      }
    }
  }
  return forms
}

/** What a browser would send after the person changed the fields named by the overrides. */
export function formEntries(form: Form, overrides: Overrides, button: Button | undefined): URLSearchParams {
  const entries = new URLSearchParams()
  const names = new Set(form.fields.map(({ name }) => name))
  const replaced = new Set<string>()
  for (const field of form.fields) {
    // Names are anything: `__proto__` is a field like others.
    const override = Object.hasOwn(overrides, field.name) ? overrides[field.name] : undefined
    const box = field.type === 'checkbox' || field.type === 'radio'
    if (field.name === '' || override === null) continue
    if (override === undefined) {
      if (field.checked) entries.append(field.name, field.value)
    } else if (box) {
      const ticked = typeof override === 'boolean' ? override : [override].flat().includes(field.value)
      if (ticked) entries.append(field.name, field.value)
    } else if (!replaced.has(field.name)) {
      replaced.add(field.name)
      for (const value of [override].flat()) entries.append(field.name, String(value))
    }
  }
  // Fields that the form does not have: what an attacker, or a script on the page, would add.
  for (const [name, override] of Object.entries(overrides)) {
    if (names.has(name) || override === null || typeof override === 'boolean') continue
    for (const value of [override].flat()) entries.append(name, value)
  }
  if (button?.name) entries.append(button.name, button.value)
  return entries
}

function parseAttributes(source: string): Map<string, string> {
  const attributes = new Map<string, string>()
  for (const [, name, double, single, bare] of source.matchAll(attribute)) {
    attributes.set(name!.toLowerCase(), decode(double ?? single ?? bare ?? ''))
  }
  return attributes
}

function textUntil(source: string, end: RegExp): string {
  const text = source.slice(0, Math.max(0, source.search(end)))
  return decode(text.replace(/<[^>]*>/g, '').trim())
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }

function decode(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal) return String.fromCodePoint(Number(decimal))
    return entities[name.toLowerCase()] ?? whole
  })
}
