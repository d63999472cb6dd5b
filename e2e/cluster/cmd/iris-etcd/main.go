// Command iris-etcd is the etcd that Iris itself uses, with etcdctl and etcdutl beside it: the
// server for the image, the others for probes, restores and a look inside.
package main

import (
	"os"

	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/spf13/cobra"
)

func main() {
	name := "etcd"
	if len(os.Args) > 1 && (os.Args[1] == "etcdctl" || os.Args[1] == "etcdutl") {
		name = os.Args[1]
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	switch name {
	case "etcdctl":
		ctlv3.MustStart()
	case "etcdutl":
		restore()
	default:
		etcdmain.Main(os.Args)
	}
}

// restore offers the two offline verbs that a test of a lost quorum needs.
func restore() {
	root := &cobra.Command{Use: "etcdutl"}
	root.AddCommand(etcdutl.NewSnapshotCommand(), etcdutl.NewVersionCommand())
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}
