//go:build go1.24 && !go1.25 && goexperiment.synctest

package main

import (
	"testing"
	"testing/synctest"
)

func bubble(_ *testing.T, work func()) { synctest.Run(work) }
