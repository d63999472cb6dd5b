#!/bin/sh
# Tries `cargo xtask up --context NAME --registry HOST/PATH` here: a bare local Kubernetes plays the
# cluster that was there before, and a registry with TLS plays yours. Takes both down at its end.
# Needs what `cargo xtask up` needs, and openssl.
set -eu
cd "$(dirname "$0")/.."

# The machine, as the nodes see it.
host=198.18.255.254
port=5443
state=${IRIS_STATE:-/var/lib/iris-dev}

if [ -e "$state/cluster.json" ]; then
    echo "a cluster is up, and this makes one of its own; cargo xtask down" >&2
    exit 1
fi
dir=$(mktemp -d)
registry=

# What the cluster that plays the existing one says of itself.
evidence() {
    cargo xtask kubectl get pods -A -o wide
    cargo xtask kubectl get events -A --sort-by=.lastTimestamp
    cp -r "$state/logs" "$dir/logs"
    cp -r "$dir/state/logs" "$dir/logs-of-context"
}
finish() {
    status=$?
    trap '' INT TERM HUP
    [ "$status" = 0 ] || evidence >&2 || true
    if [ -e "$dir/state/cluster.json" ]; then
        IRIS_STATE="$dir/state" cargo xtask down || status=1
    fi
    [ -z "$registry" ] || kill "$registry" || true
    cargo xtask down || status=1
    if [ "$status" = 0 ]; then
        rm -rf "$dir"
    else
        echo "failed; what is left to see is in $dir" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=registry \
    -addext "subjectAltName=IP:$host" -keyout "$dir/key.pem" -out "$dir/cert.pem"
# Whoever is started from here trusts the registry: the nodes' containerd, which pulls, and buildah.
cat /etc/ssl/certs/ca-certificates.crt "$dir/cert.pem" > "$dir/trust.pem"
export SSL_CERT_FILE="$dir/trust.pem"

cargo xtask up --bare --json > "$dir/up.json"
KUBECONFIG=$(sed -n 's/.*"kubeconfig": "\(.*\)".*/\1/p' "$dir/up.json")
[ -s "$KUBECONFIG" ]
export KUBECONFIG

# Elsewhere a machine has no way to pods and Services. With one, whoever takes an address of theirs
# would be right here and wrong there.
ip route | sed -n 's|^\(198\.1[89]\.[0-9.]*/[0-9]*\) via .*|\1|p' | while read -r net; do
    ip route del "$net"
done
for address in 198.18.1.1 198.19.0.1; do
    if ip route get "$address" 2> /dev/null; then
        echo "there is still a way to $address" >&2
        exit 1
    fi
done

GOBIN="$dir" CGO_ENABLED=0 go install github.com/distribution/distribution/v3/cmd/registry@v3.0.0
cat > "$dir/registry.yaml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $dir/images}}
http: {addr: "$host:$port", tls: {certificate: $dir/cert.pem, key: $dir/key.pem}}
END
"$dir/registry" serve "$dir/registry.yaml" > "$dir/registry.log" 2>&1 &
registry=$!

# What a class of volumes would do elsewhere; the bare cluster has none that makes volumes.
for volume in data-cassandra-0:n1 data-etcd-0:n2; do
    name=${volume%:*}
    mkdir -p "$dir/$name"
    sed "s|@NAME@|$name|; s|@CLAIM@|$name|; s|@PATH@|$dir/$name|; s|@NODE@|${volume#*:}|" dev/kube/volume.yaml \
        > "$dir/$name.yaml"
    cargo xtask kubectl apply -f "$dir/$name.yaml"
done

if ! kill -0 "$registry"; then
    cat "$dir/registry.log" >&2
    exit 1
fi
IRIS_STATE="$dir/state" cargo xtask up --context iris-dev --registry "$host:$port/iris"
IRIS_STATE="$dir/state" cargo xtask iris soak --pairs 10 --rate 100 --duration 10s
