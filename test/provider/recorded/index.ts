/** What each provider was recorded to answer. Tokens, ids and people are invented; members and their types are not. */
import { recording as atlassian } from './atlassian.js'
import { recording as discord } from './discord.js'
import { auth0Recording, keycloakRecording, oktaRecording } from './enterprise.js'
import { githubApp, githubOAuthApp } from './github.js'
import { recording as gitlab } from './gitlab.js'
import { recording as google } from './google.js'
import { recordings as microsoft } from './microsoft.js'
import { notionLasting, notionRotating } from './notion.js'
import { recording as salesforce } from './salesforce.js'
import { slackLasting, slackRotating, slackSignIn } from './slack.js'
import { twitchOpenId, twitchPlain } from './twitch.js'

export const recordings = [
  google,
  ...microsoft,
  githubOAuthApp,
  githubApp,
  gitlab,
  slackLasting,
  slackRotating,
  slackSignIn,
  discord,
  twitchOpenId,
  twitchPlain,
  notionLasting,
  notionRotating,
  atlassian,
  salesforce,
  oktaRecording,
  auth0Recording,
  keycloakRecording,
]
