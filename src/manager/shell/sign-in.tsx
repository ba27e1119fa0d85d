/** Who is not known signs in with a token; a link of `hv manager` has done that already. */

import { type FormEvent, useState } from 'react';
import { Button } from '../parts/button.tsx';
import { Field } from '../parts/field.tsx';
import { messageOf } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { reasonToSignIn, signIn } from '../store/live.ts';

export function SignIn() {
  const [error, setError] = useState<string | undefined>(reasonToSignIn);
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const token = textIn(new FormData(event.currentTarget), 'token');
    setError(undefined);
    await signIn(token).catch((cause: unknown) => setError(messageOf(cause)));
  };
  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <img src="/icon.svg" alt="" />
        <h1>Viridian Manager</h1>
        <p className="quiet">
          On the machine that runs the service, <code>hv manager</code> opens this page signed in. From elsewhere, use a
          token: <code>hv token create NAME</code> makes one.
        </p>
        <Field label="Token" name="token" type="password" autoComplete="current-password" required autoFocus />
        {error === undefined ? null : (
          <p className="note bad" role="alert">
            {error}
          </p>
        )}
        <Button type="submit" look="main">
          Sign in
        </Button>
      </form>
    </main>
  );
}
