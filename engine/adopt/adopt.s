// This file lets package adopt declare functions without a body.
