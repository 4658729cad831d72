#!/usr/bin/env bash
# mpirun over two hosts that are network namespaces joined by a veth pair: two_hosts.sh RANKS
# PROGRAM [ARGUMENTS]. Half of the ranks run on each; they meet only over TCP through the pair.
# Needs root. Exit 77 where namespaces are not allowed.
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ranks=$1
shift
id=$$
a=ranks-a-$id b=ranks-b-$id
agent=$(mktemp)
cleanup() {
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
  rm -f "$agent"
}
trap cleanup EXIT
if ! ip netns add "$a" 2>/dev/null || ! ip netns add "$b" 2>/dev/null; then
  echo "SKIPPED: network namespaces need root" >&2
  exit 77
fi
ip link add "va$id" netns "$a" type veth peer name "vb$id" netns "$b"
ip -n "$a" addr add 10.213.0.1/24 dev "va$id"
ip -n "$b" addr add 10.213.0.2/24 dev "vb$id"
for namespace in "$a" "$b"; do
  ip -n "$namespace" link set lo up
done
ip -n "$a" link set "va$id" up
ip -n "$b" link set "vb$id" up

# What mpirun takes for ssh: runs the command in the namespace, under a host name of its own.
cat >"$agent" <<AGENT
#!/usr/bin/env bash
host=\$1
shift
case \$host in
  10.213.0.1) namespace=$a name=host-a ;;
  10.213.0.2) namespace=$b name=host-b ;;
  *) echo "no host \$host" >&2; exit 1 ;;
esac
exec ip netns exec \$namespace unshare --uts sh -c "hostname \$name; \$*"
AGENT
chmod +x "$agent"
half=$((ranks / 2))
ip netns exec "$a" unshare --uts sh -c 'hostname host-a; exec "$@"' sh \
  mpirun --mca plm_rsh_agent "$agent" --mca btl tcp,self --mca btl_tcp_if_include 10.213.0.0/24 \
  --mca oob_tcp_if_include 10.213.0.0/24 --bind-to none --oversubscribe \
  --host "10.213.0.1:$half,10.213.0.2:$half" -np "$ranks" "$@"
