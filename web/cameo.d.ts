/** Types of cameo.js. */

export type State = "pending" | "processing" | "verified" | "rejected" | "review" | "expired" | "failed";

export interface EnrollOptions {
  /** The element that the onboarding is put into. */
  container: Element;
  /** `id` of `POST /v1/verifications`. */
  verification: string;
  /** `client_token` of `POST /v1/verifications`. */
  token: string;
  /** BCP 47 tag; the verification's `locale` where it is left out. */
  language?: string;
  /** What the frame is called for screen readers. */
  title?: string;
  /** Where Cameo is; where this file came from, where it is left out. */
  origin?: string;
  /** Hears of every state of the verification. */
  onState?: (state: State) => void;
}

export interface Enrollment {
  /**
   * `verified` or `review` as soon as that is known; any other state when the person leaves; `closed`
   * after `close()`. What counts is what `GET /v1/verifications/{id}` tells the app's server.
   */
  readonly done: Promise<{ state: State | "closed" }>;
  /** Takes the frame away. */
  close(): void;
}

export function enroll(options: EnrollOptions): Enrollment;
