// Package tester lets an operator send messages to himself from the page of the window: it makes a channel that nobody else knows, follows
// it through the port of subscribers, and publishes to it through that of back ends, as a client and a portal would. What it says goes to
// the page as events of a stream.
//
// It publishes to channels of its own making and to no other, so that the window is no way to the users of the portal. How many channels
// there are, how many listen, how often and how much they send is bounded.
package tester
