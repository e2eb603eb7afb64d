#!/bin/sh
# Makes the signed objects and keys beside this script with git, gpg and ssh-keygen. Keys are new at each run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'gpgconf --homedir "$work/gnupg" --kill all 2>/dev/null || true; rm -rf "$work"' EXIT
export GNUPGHOME="$work/gnupg" HOME="$work" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.com GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.com
mkdir -m 700 "$GNUPGHOME"
gpg="gpg --batch --quiet --pinentry-mode loopback --passphrase ''"

new_key() { # name, algorithm, usage, expiry, options
  eval $gpg ${5:-} --quick-generate-key "'$1 <$1@example.com>'" "$2" "$3" "$4"
}
print_of() { gpg --batch --with-colons --list-keys "$1@example.com" | awk -F: '/^fpr/ {print $10; exit}'; }

new_key ed ed25519 sign never
new_key rsa rsa3072 sign never
new_key sub ed25519 cert never
eval $gpg --quick-add-key "$(print_of sub)" ed25519 sign never
new_key old ed25519 sign seconds=86400 "--faked-system-time 20250101T000000!"
new_key gone ed25519 sign never
new_key other ed25519 sign never
for name in ed rsa sub old gone other; do gpg --batch --armor --export "$name@example.com" > "$here/$name.asc"; done

git init --quiet "$work/repo"
cd "$work/repo"
sign() { # case, key
  git -c gpg.program="$work/gpg-$1" -c user.signingkey="$2" commit --quiet --allow-empty -S -m "Signed by $1"
  git cat-file commit HEAD > "$here/$1.commit"
}
program() { # case, options
  printf '#!/bin/sh\nexec gpg --batch --pinentry-mode loopback --passphrase "" %s "$@"\n' "${2:-}" > "$work/gpg-$1"
  chmod +x "$work/gpg-$1"
}
for name in ed rsa sub gone other; do program $name; sign $name "$(print_of $name)"; done
program old "--faked-system-time 20250101T010000!"
sign old "$(print_of old)"
program sha1 "--digest-algo SHA1"
sign sha1 "$(print_of rsa)"
git -c gpg.program="$work/gpg-ed" -c user.signingkey="$(print_of ed)" tag -s v1 -m "Tag by ed"
git cat-file tag v1 > "$here/ed.tag"
git commit --quiet --allow-empty -m "Not signed"
git cat-file commit HEAD > "$here/unsigned.commit"
git tag -a v2 -m "Not signed"
git cat-file tag v2 > "$here/unsigned.tag"

# A revocation certificate is made with the key; its colon keeps it from being imported by accident.
sed 's/^:-----/-----/' "$GNUPGHOME/openpgp-revocs.d/$(print_of gone).rev" | gpg --batch --quiet --import
gpg --batch --armor --export gone@example.com > "$here/gone.asc"

ssh-keygen -q -t ed25519 -N '' -C ed -f "$work/ssh-ed"
ssh-keygen -q -t rsa -b 3072 -N '' -C rsa -f "$work/ssh-rsa"
ssh-keygen -q -t ecdsa -b 384 -N '' -C ecdsa -f "$work/ssh-ecdsa"
for name in ed rsa ecdsa; do
  cp "$work/ssh-$name.pub" "$here/$name.sshpub"
  git -c gpg.format=ssh -c user.signingkey="$work/ssh-$name" commit --quiet --allow-empty -S -m "Signed by SSH $name"
  git cat-file commit HEAD > "$here/ssh-$name.commit"
done
git -c gpg.format=ssh -c user.signingkey="$work/ssh-ed" tag -s v3 -m "Tag by SSH ed"
git cat-file tag v3 > "$here/ssh-ed.tag"
# The same signature for another purpose.
git cat-file commit HEAD~3 > "$work/payload"
grep -v '^gpgsig\|^ ' "$work/payload" > "$here/purpose.payload"
ssh-keygen -q -Y sign -n file -f "$work/ssh-ed" < "$here/purpose.payload" > "$here/purpose.sig"
