/** Who says something in a conversation. */
export type Role = "system" | "user" | "assistant";

export const ROLES: readonly Role[] = ["system", "user", "assistant"];

/** What somebody says in a conversation. */
export interface Message {
  readonly role: Role;
  readonly content: string;
}
