// SPDX-License-Identifier: MIT

// PocketBase as it is, with the SQLite in pure Go that it brings along.
package main

import (
	"log"

	"github.com/pocketbase/pocketbase"
)

func main() {
	if err := pocketbase.New().Start(); err != nil {
		log.Fatal(err)
	}
}
