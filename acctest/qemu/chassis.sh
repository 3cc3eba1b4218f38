#!/bin/sh
# The chassis_control hook of ipmi_sim: chassis.sh DIR get|set PARAMETER [VALUE]...
# The story's process owns the virtual machine. It reads orders from DIR/orders and keeps DIR/power true (1 or 0); DIR/boot is the
# boot device that the next power-on takes.
set -eu
dir=$1
verb=$2
shift 2

# order TEXT WANTED-POWER: asks the owner and waits until it is so.
order() {
  echo "$1" >"$dir/orders"
  tries=0
  while [ "$(cat "$dir/power")" != "$2" ]; do
    tries=$((tries + 1))
    [ $tries -le 100 ] || exit 1
    sleep 0.1
  done
}

case $verb in
get)
  for what in "$@"; do
    case $what in
    power) echo "power:$(cat "$dir/power")" ;;
    boot) echo "boot:$(cat "$dir/boot" 2>/dev/null || echo default)" ;;
    *) exit 1 ;;
    esac
  done
  ;;
set)
  while [ $# -ge 2 ]; do
    case $1 in
    power)
      if [ "$2" = 1 ]; then order on 1; else order off 0; fi
      ;;
    reset)
      order off 0
      order on 1
      ;;
    boot) echo "$2" >"$dir/boot" ;;
    *) exit 1 ;;
    esac
    shift 2
  done
  ;;
check) ;;
*) exit 1 ;;
esac
