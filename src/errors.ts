/** A mistake of the user's, told in one line; the command line exits with 2 and shows no stack. */
export class UserError extends Error {
  override readonly name: string = "UserError";
}
