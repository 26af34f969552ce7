// A server of the plain wire (bench/src/dialect/plain.rs) as many classic game servers in Go are written: a goroutine per
// client that reads a header and then a payload straight from the socket, rooms under a lock, messages that are decoded and
// encoded again, and a write per message and receiver.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	bench "tagwire.bench/gen"
)

const (
	tagEnter   = 1
	tagEcho    = 2
	tagPing    = 3
	tagCast    = 4
	tagStep    = 5
	tagLatest  = 7
	tagRequest = 8

	// Larger ones end the connection: who sends must not choose our memory.
	maxPayloadBytes = 1 << 20
)

// client is one connection.
type client struct {
	conn net.Conn
	room *room
	// Ends the pings.
	gone chan struct{}
	// Reused from message to message; decoding copies what it keeps.
	payload []byte
	header  [8]byte
}

// room is who hears whom.
type room struct {
	mu      sync.RWMutex
	members map[*client]struct{}
}

// broadcast writes a frame to all members but one, which may be nil.
func (r *room) broadcast(frame []byte, except *client) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for member := range r.members {
		if member != except {
			member.write(frame)
		}
	}
}

// server holds the rooms.
type server struct {
	mu    sync.RWMutex
	rooms map[string]*room
	ping  time.Duration
}

// enter puts a client into a room, which is made if need be.
func (s *server) enter(c *client, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rooms[name]
	if !ok {
		r = &room{members: make(map[*client]struct{})}
		s.rooms[name] = r
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[c] = struct{}{}
	c.room = r
}

// leave takes a client out of its room; an empty one goes.
func (s *server) leave(c *client, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	delete(c.room.members, c)
	if len(c.room.members) == 0 {
		delete(s.rooms, name)
	}
}

// serve is a client's goroutine.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	c := &client{conn: conn, gone: make(chan struct{})}
	defer close(c.gone)

	tag, payload, err := c.read()
	if err != nil || tag != tagEnter {
		return
	}
	name := string(payload)
	s.enter(c, name)
	defer s.leave(c, name)
	c.write(frame(tagEnter, payload))
	if s.ping > 0 {
		go c.pings(s.ping)
	}

	for {
		tag, payload, err := c.read()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				log.Printf("%v: %v", conn.RemoteAddr(), err)
			}
			return
		}
		if err := c.handle(tag, payload); err != nil {
			log.Printf("%v: %v", conn.RemoteAddr(), err)
			return
		}
	}
}

// handle is one message.
func (c *client) handle(tag uint16, payload []byte) error {
	var message proto.Message
	switch tag {
	case tagEcho:
		message = &bench.Echo{}
	case tagCast:
		message = &bench.Cast{}
	case tagStep:
		message = &bench.Step{}
	case tagLatest:
		message = &bench.Latest{}
	case tagRequest:
		message = &bench.AskRequest{}
	case tagPing:
		return nil
	default:
		return fmt.Errorf("a frame with the tag %d", tag)
	}
	if err := proto.Unmarshal(payload, message); err != nil {
		return err
	}

	if ask, ok := message.(*bench.AskRequest); ok {
		message = &bench.AskReply{SentNs: ask.SentNs, Number: ask.Number, Kind: ask.Kind, Padding: ask.Padding}
	}
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	switch tag {
	case tagEcho:
		c.room.broadcast(frame(tag, encoded), nil)
	case tagRequest:
		c.write(frame(tag, encoded))
	default:
		c.room.broadcast(frame(tag, encoded), c)
	}
	return nil
}

// read is the next frame: a read for the header and one for the payload, which is good until the next call.
func (c *client) read() (tag uint16, payload []byte, err error) {
	header := c.header[:2]
	if _, err := io.ReadFull(c.conn, header); err != nil {
		return 0, nil, err
	}
	length := int(header[0])
	tag = uint16(header[1])
	if length == 0xff && tag == 0 {
		rest := c.header[2:8]
		if _, err := io.ReadFull(c.conn, rest); err != nil {
			return 0, nil, err
		}
		tag = binary.BigEndian.Uint16(rest)
		length = int(binary.BigEndian.Uint32(rest[2:]))
	}
	if length > maxPayloadBytes {
		return 0, nil, fmt.Errorf("a frame of %d bytes, limit %d", length, maxPayloadBytes)
	}
	if cap(c.payload) < length {
		c.payload = make([]byte, length)
	}
	payload = c.payload[:length]
	_, err = io.ReadFull(c.conn, payload)
	return tag, payload, err
}

// write sends a frame. Any goroutine may: a write is whole, and the socket has a lock of its own. Where it fails the client's
// own goroutine is told by its next read.
func (c *client) write(frame []byte) {
	if _, err := c.conn.Write(frame); err != nil {
		c.conn.Close()
	}
}

// pings asks so often whether the client is there.
func (c *client) pings(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.gone:
			return
		case now := <-ticker.C:
			c.write(frame(tagPing, binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))))
		}
	}
}

// frame is a header and a payload.
func frame(tag uint16, payload []byte) []byte {
	made := make([]byte, 0, 8+len(payload))
	if len(payload) <= 0xff {
		made = append(made, byte(len(payload)), byte(tag))
	} else {
		made = append(made, 0xff, 0)
		made = binary.BigEndian.AppendUint16(made, tag)
		made = binary.BigEndian.AppendUint32(made, uint32(len(payload)))
	}
	return append(made, payload...)
}

func main() {
	port := flag.Int("port", 7777, "port of 127.0.0.1 to listen on")
	ping := flag.Duration("ping", 0, "ping each client so often; 0: never")
	flag.Parse()

	// Go sets TCP_NODELAY, and raises the limit of descriptors, by itself.
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	s := &server{rooms: make(map[string]*room), ping: *ping}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go s.serve(conn)
	}
}
