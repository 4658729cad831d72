#!/bin/sh
# Runs a compiler (nvcc with -Xptxas -v) and moves what ptxas reports from the terminal to
# OBJECT.ptxas beside the object: registers, shared memory and spills of every kernel.
object=
previous=
for argument in "$@"; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
case $object in
  *.o) ;;
  *) exec "$@" ;;
esac
"$@" 2>"$object.stderr"
status=$?
report='ptxas info\|bytes stack frame\|^[[:space:]]*$'
grep "$report" "$object.stderr" >"$object.ptxas"
grep -v "$report" "$object.stderr" >&2
rm -f "$object.stderr"
exit $status
