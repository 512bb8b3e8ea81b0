// Package config reads what the service needs before it starts.
package config

import (
	"fmt"
	"os"

	"example.com/shop/config/db"
)

var name string

func init() {
	name = os.Getenv("SHOP_NAME")
	fmt.Fprintln(os.Stderr, "configuration read")
}

// Name is the service's name.
func Name() string { return name + db.Version() }
