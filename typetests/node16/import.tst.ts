import Fastify from 'fastify'
import oauth2Client, { type fastifyOAuth2Client, requireOAuth } from 'fastify-oauth2client'
import { CredentialManager, parseScopes } from 'fastify-oauth2client/credentials'
import { authorizationUrl } from 'fastify-oauth2client/flows'
import { serviceAccountCredentials } from 'fastify-oauth2client/google'
import { runDeviceFlow } from 'fastify-oauth2client/installed'
import { google } from 'fastify-oauth2client/providers'
import { encrypted } from 'fastify-oauth2client/storage/encrypted'
import { fileStore } from 'fastify-oauth2client/storage/file'
import { keyringStore } from 'fastify-oauth2client/storage/keyring'
import { memoryStore } from 'fastify-oauth2client/storage/memory'
import { redisStore } from 'fastify-oauth2client/storage/redis'
import { sqlStore } from 'fastify-oauth2client/storage/sql'
import { openSqlite } from 'fastify-oauth2client/storage/sqlite'
import { startAuthorizationServer } from 'fastify-oauth2client/testing'
import { createXsrfToken } from 'fastify-oauth2client/xsrf'
import { expect, test } from 'tstyche'

test('the default export is the plugin', () => {
  expect(oauth2Client).type.toBe<typeof fastifyOAuth2Client>()
  expect(Fastify().register).type.toBeCallableWith(oauth2Client, { provider: google(), storage: memoryStore() })
  expect(requireOAuth).type.toBeCallableWith('a')
})

test('every entry has its types', () => {
  const all = [CredentialManager, parseScopes, authorizationUrl, serviceAccountCredentials, runDeviceFlow, encrypted]
  const stores = [fileStore, keyringStore, memoryStore, redisStore, sqlStore, openSqlite]
  const others = [startAuthorizationServer, createXsrfToken]
  for (const entry of [...all, ...stores, ...others]) expect(entry).type.toBeAssignableTo<object>()
})
