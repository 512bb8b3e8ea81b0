module example.com/idle-server

go 1.19
