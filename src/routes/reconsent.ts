/** Thrown by the exchange when consent has to be asked for again, for want of a refresh token. */
export class ReconsentNeeded extends Error {}
