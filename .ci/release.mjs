#!/usr/bin/env node
/**
 * Whether a tag may be published: `node .ci/release.mjs v0.1.0`, in the folder of the package. The tag, package.json, its lockfile
 * and CHANGELOG.md have to agree. Prints what the changelog says about the version, for the notes of the release.
 */
import { readFileSync } from 'node:fs'

const [tag = ''] = process.argv.slice(2)
const { version, repository } = JSON.parse(readFileSync('package.json', 'utf8'))
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const changelog = readFileSync('CHANGELOG.md', 'utf8')
const home = repository.url.replace(/^git\+|\.git$/g, '')

const [, ...parts] = changelog.split(/^## /m)
const sections = parts.map((part) => {
  const [heading = '', ...lines] = part.split('\n')
  // Links stand at the end of the file, below the last section.
  const text = lines.filter((line) => !/^\[[^\]]+\]: \S+$/.test(line)).join('\n')
  return { heading, text: text.trim() }
})
const unreleased = sections.find(({ heading }) => heading === '[Unreleased]')
const [newest] = sections.filter((section) => section !== unreleased)

const problems = []
if (tag !== `v${version}`) problems.push(`the tag is ${tag || 'missing'}, and package.json says ${version}`)
if (lock.version !== version || lock.packages[''].version !== version)
  problems.push(`package-lock.json says ${lock.version}, and package.json ${version}: run npm install`)
if (!unreleased) problems.push('CHANGELOG.md has no section "## [Unreleased]"')
else if (/^[-*] /m.test(unreleased.text)) problems.push(`CHANGELOG.md has changes that are not in ${version} yet`)
if (!newest || !new RegExp(`^\\[${version.replaceAll('.', '\\.')}\\] - \\d{4}-\\d\\d-\\d\\d$`).test(newest.heading))
  problems.push(`CHANGELOG.md does not begin with "## [${version}] - <year-month-day>" after the unreleased changes`)
else if (newest.text === '') problems.push(`CHANGELOG.md says nothing about ${version}`)
for (const { heading } of sections) {
  const name = /^\[([^\]]+)\]/.exec(heading)?.[1]
  if (name && !changelog.includes(`\n[${name}]: ${home}/`)) problems.push(`CHANGELOG.md has no link for [${name}]`)
}

if (problems.length > 0) {
  for (const problem of problems) console.error(problem)
  process.exitCode = 1
} else console.log(newest.text)
